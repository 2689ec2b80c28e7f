"""Loaded models that translate lines of text: what the command line needs of the search."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipelines.decoding.batches import Batch, batches
from pipelines.decoding.beam_search import Search
from pipelines.decoding.mbr import most_like_the_others
from pipelines.decoding.options import Hypothesis
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.rules import Prefix
from pipelines.decoding.selection import Selector
from pipelines.decoding.strategies import Strategy
from pipelines.decoding.trace import Trace
from pipelines.decoding.workers import Workers
from pipelines.ensemble.network import Ensemble
from pipelines.formats.shards.arrays import Ragged, token_type
from pipelines.formats.text import bad_byte, normalise
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import CLS, END, SEP, SPECIAL_TOKENS, UNK
from pipelines.frame.errors import DataError, broken_rule
from pipelines.frame.hardware import Hardware
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.translate.constrained import Constrained

_LONGEST = 1024  # source tokens of a model that knows no limit itself


@dataclass(frozen=True)
class Line:
    """One line of input.

    Attributes:
        ids: its tokens; None for a line that cannot be translated, empty for a blank one.
        problems: what is wrong with it, for people.
    """

    ids: list[int] | None
    problems: list[str]


@dataclass(frozen=True)
class Translation:
    """What became of a line.

    Attributes:
        hypotheses: best first; none for a blank line.
        texts: of the hypotheses.
        trace: of the search, if it was asked for.
    """

    hypotheses: list[Hypothesis]
    texts: list[str]
    trace: Trace | None


class Session:
    """One model, or several searched as one; their tokenizer; one way to search.

    Args:
        models: in evaluation mode.
        tokenizer: their folder of it.
        params: how to search.
        hardware: on what.
        begin: what each translation begins with; normalised, as all text.
        phrases: what each translation contains; likewise.

    Attributes:
        tokenizer: as it was loaded.
        longest_source: most tokens of a source, [CLS] and [SEP] among them.

    Raises:
        DataError: phrases are asked of another strategy than beam search; a model and the
            tokenizer do not fit.
    """

    def __init__(
        self,
        models: Sequence[Seq2SeqModel],
        tokenizer: Path,
        params: DecodingParams,
        hardware: Hardware,
        *,
        begin: str = "",
        phrases: Sequence[str] = (),
    ) -> None:
        self.tokenizer = SubwordTokenizer.load(tokenizer)
        self._params = params
        for model in models:
            if (size := len(model.output.weight)) != self.tokenizer.vocab_size:
                rule, remedy = f"be the tokenizer's ({self.tokenizer.vocab_size})", "run dvc repro"
                raise DataError(broken_rule("model", "vocabulary", size, rule, remedy))
        limits = [model.longest_source for model in models if model.longest_source]
        self.longest_source = min(limits, default=_LONGEST)
        self._shows_attention = len(models) == 1 and models[0].has_attention
        if phrases and params.strategy.name != "beam":
            rule = "be beam where translations have to contain something"
            raise DataError(
                broken_rule(
                    "params.yaml", "decoding.strategy", params.strategy.name, rule, "change it"
                )
            )
        if (longest := min(limits, default=params.max_length)) < params.max_length:
            rule = f"not exceed the model's positions ({longest})"
            raise DataError(
                broken_rule(
                    "params.yaml", "decoding.max_length", params.max_length, rule, "lower it"
                )
            )
        network = models[0] if len(models) == 1 else Ensemble(models)
        self._workers = Workers(network, hardware, params.precision)
        texts = [normalise(text) for text in (begin, *phrases)]
        self._begin, *self._phrases = self.tokenizer.encode_targets(texts)
        for text, ids in zip(texts, (self._begin, *self._phrases), strict=True):
            if UNK in ids or len(ids) >= params.max_length:
                rule = (
                    "be known to the vocabulary and shorter than decoding.max_length "
                    f"({params.max_length} tokens)"
                )
                raise DataError(broken_rule("command line", "text", text, rule, "change it"))
        self._strategy = Strategy(params, 0, params.beam_size, params.num_best)

    def piece(self, token: int) -> str:
        """A token as it stands in the vocabulary."""
        return self.tokenizer.token(token)

    def pieces(self, tokens: Sequence[int], *, source: bool = False) -> list[str]:
        """Tokens as they stand in the vocabulary; a source between [CLS] and [SEP]."""
        inner = [self.piece(token) for token in tokens]
        return [SPECIAL_TOKENS[CLS], *inner, SPECIAL_TOKENS[SEP]] if source else inner

    def read(self, raw: bytes, *, cut: bool) -> Line:
        """Bytes of a line → its tokens; one that is too long is cut or refused."""
        if found := bad_byte(raw):
            return Line(None, [str(found)])
        text = normalise(raw.decode("utf-8"))
        ids, problems = self.tokenizer.encode([text])[0], []
        if UNK in ids:
            lost = dict.fromkeys(
                text[one.start : one.end] for one in self.tokenizer.unknown([text])[0]
            )
            problems.append(
                f"words ({', '.join(lost)}) must be spelt in the vocabulary's characters; they "
                "become [UNK]"
            )
        if len(ids) + 2 > self.longest_source:
            rule = f"number of tokens ({len(ids) + 2}) must be at most {self.longest_source}; "
            problems.append(
                rule + ("the rest is cut off" if cut else "shorten the line, or set --too-long cut")
            )
            return Line(ids[: self.longest_source - 2] if cut else None, problems)
        return Line(ids, problems)

    def translate(
        self, lines: Sequence[Line], *, first: int = 0, traced: bool = False
    ) -> list[Translation]:
        """Translations in the order of the lines, with records and attention if asked for.

        Args:
            lines: of the input.
            first: number of the first of them; samples are drawn by the number.
            traced: keep what the search did.
        """
        found = [Translation([], [], None) for _ in lines]
        numbers = [number for number, line in enumerate(lines) if line.ids]
        if not numbers:
            return found
        rows = [
            np.asarray(lines[number].ids, token_type(self.tokenizer.vocab_size))
            for number in numbers
        ]
        source = Ragged(
            np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        )

        def search(model: Seq2SeqModel, device: torch.device, batch: Batch) -> list[Translation]:
            chosen = self._strategy.selector([first + numbers[row] for row in batch.numbers])
            return self._search(model, device, batch, chosen, traced)

        work = list(batches(source, 1 if traced else self._params.batch_tokens))
        for batch, group in self._workers.map(search, work):
            for row, translated in zip(batch.numbers, group, strict=True):
                found[numbers[row]] = translated
        return found

    def _search(
        self,
        model: Seq2SeqModel,
        device: torch.device,
        batch: Batch,
        selector: Selector,
        traced: bool,
    ) -> list[Translation]:
        count, params, strategy = len(batch.numbers), self._params, self._strategy
        options = strategy.options
        if self._phrases:
            selector = Constrained(
                [self._phrases] * count, params.beam_size, params.max_length, (END,)
            )
        rules = [*strategy.rules, *([Prefix([self._begin] * count)] if self._begin else [])]
        options = replace(
            options, attention=traced and self._shows_attention, at_once=self._workers.at_once
        )
        searched = Search(
            model,
            batch.source_BS.to(device),
            batch.lengths_B.to(device),
            options,
            selector=selector,
            rules=rules,
        )
        return [
            self._translated(group, searched.trace if traced else None) for group in searched.run()
        ]

    def _translated(self, group: list[Hypothesis], trace: Trace | None) -> Translation:
        texts = [self.tokenizer.decode(hypothesis.tokens) for hypothesis in group]
        if self._params.rerank == "mbr" and group:
            group = most_like_the_others(
                group, texts, uniform=self._params.strategy.name == "sampling"
            )
            texts = [self.tokenizer.decode(hypothesis.tokens) for hypothesis in group]
        return Translation(group, texts, trace)
