"""Stage ``decoding``: a model and the test sentences → greedy and beam hypotheses; once per architecture."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.decoding.params import DecodingParams
from pipelines.errors import CheckFailed
from pipelines.sections import Document
from pipelines.stage import Metrics, Stage, StageRun, item_argument, run_stage

if TYPE_CHECKING:
    from pipelines.decoding.beam_search import Hypothesis, SearchOptions
    from pipelines.seq2seq.models.protocol import Seq2SeqModel
    from pipelines.shards.format import Ragged
    from pipelines.tokenizer.tokenizer import WordPieceTokenizer

SHARDS, TOKENIZER, MODELS = Path("data/shards"), Path("data/tokenizer"), Path("data/seq2seq")
_TOLERANCE = 1e-4  # nats per token between a search's score and teacher forcing


def declare(document: Document, architecture: str) -> Stage:
    """Reads one model, the tokenizer and the test pairs."""
    from pipelines.seq2seq.models import family_module

    family = f"seq2seq.architectures.{architecture}.family"
    return Stage(
        "decoding",
        "pipelines.decoding.decode",
        {"decoding": DecodingParams, family: str},
        (MODELS / architecture, TOKENIZER, SHARDS),
        item=architecture,
        modules=(family_module(document.get(family)),),
    )


def decode(run: StageRun) -> Metrics:
    """Search greedily and with the beam, prove the scores, write the hypotheses.

    Raises:
        CheckpointError: the model folder is damaged.
        CheckFailed: a hypothesis' score is not what teacher forcing gives it.
    """
    import torch

    from pipelines.decoding.beam_search import SearchOptions
    from pipelines.seq2seq.saving import load
    from pipelines.shards.format import PairShard
    from pipelines.tokenizer.special_tokens import END, START
    from pipelines.tokenizer.tokenizer import WordPieceTokenizer

    params = run.section("decoding", DecodingParams)
    torch.set_num_threads(run.hardware.num_threads)
    on_gpu = run.hardware.accelerator != "cpu" and torch.cuda.is_available()
    torch.backends.cudnn.allow_tf32 = False  # a GRU's scores would differ from their teacher-forced ones
    model = load(MODELS / str(run.stage.item)).to("cuda" if on_gpu else "cpu")
    tokenizer = WordPieceTokenizer.load(TOKENIZER)
    source = PairShard.open(SHARDS, "test").source
    beam = SearchOptions(
        params.beam_size, params.length_penalty, params.max_length, params.num_best, start=START, end=END
    )
    searches = {"greedy": replace(beam, beam_size=1, num_best=1), "beam": beam}
    measured = {}
    for name, options in searches.items():
        hypotheses = _search(run, name, model, source, options, params.batch_size)
        _write(run.work, name, hypotheses, tokenizer)
        best = [found[0] for found in hypotheses]
        measured[name] = {
            "mean_score": sum(hypothesis.score for hypothesis in best) / len(best),
            "mean_length": sum(len(hypothesis.tokens) for hypothesis in best) / len(best),
            "without_end": sum(hypothesis.tokens[-1] != END for hypothesis in best),
        }
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"decoding": {**measured, "sentences": len(source), "parameters": parameters}}


def _search(
    run: StageRun, name: str, model: Seq2SeqModel, source: Ragged, options: SearchOptions, batch_size: int
) -> list[list[Hypothesis]]:
    """Hypotheses of every sentence, in the order of the test set; searched in order of length."""
    import numpy as np

    from pipelines.decoding.beam_search import beam_search
    from pipelines.seq2seq.sources import sources

    device = next(model.parameters()).device
    order = np.argsort(source.lengths, kind="stable")
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(source))]
    seconds, worst = 0.0, 0.0
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        batch = [tensor.to(device) for tensor in sources([source[row] for row in rows])]
        started = time.perf_counter()
        found = beam_search(model, batch[0], batch[1], options)
        seconds += time.perf_counter() - started
        worst = max(worst, _rescored(model, batch[0], batch[1], [group[0] for group in found], rows))
        for row, group in zip(rows, found, strict=True):
            hypotheses[row] = group
    speed = len(source) / seconds
    run.timings.append({"search": name, "sentences_per_s": speed})
    print(f"{name}: {len(source)} sentences, {speed:.0f} sentences/s, rescored to {worst:.1e} nats/token", flush=True)
    return hypotheses


def _rescored(model: Seq2SeqModel, source: object, lengths: object, best: list[Hypothesis], rows: object) -> float:
    """Largest difference per token between search and teacher forcing."""
    from pipelines.decoding.rescoring import log_probabilities

    again = log_probabilities(model, source, lengths, [hypothesis.tokens for hypothesis in best])  # type: ignore[arg-type]
    worst = 0.0
    for row, hypothesis, value in zip(rows, best, again, strict=True):  # type: ignore[call-overload]
        difference = abs(value - hypothesis.log_probability) / len(hypothesis.tokens)
        if not difference <= _TOLERANCE:
            raise CheckFailed(
                f"decoding: log-probability of test sentence {row} ({hypothesis.log_probability:.6f}) must equal its "
                f"teacher-forced score {value:.6f}; search and model disagree, which is a bug of this project"
            )
        worst = max(worst, difference)
    return worst


def _write(folder: Path, name: str, hypotheses: list[list[Hypothesis]], tokenizer: WordPieceTokenizer) -> None:
    """``<name>.txt``, one best translation a line, and ``<name>.nbest.jsonl`` with scores."""
    lines, texts = [], []
    for number, group in enumerate(hypotheses):
        decoded = [tokenizer.decode(hypothesis.tokens) for hypothesis in group]
        texts.append(decoded[0])
        lines.append(
            {
                "sentence": number,
                "hypotheses": [
                    {
                        "text": text,
                        "score": hypothesis.score,
                        "log_probability": hypothesis.log_probability,
                        "tokens": list(hypothesis.tokens),
                    }
                    for text, hypothesis in zip(decoded, group, strict=True)
                ],
            }
        )
    (folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="\n")
    (folder / f"{name}.nbest.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    sys.exit(
        run_stage(lambda document: declare(document, item_argument(sys.argv[1:], "seq2seq.architectures")), decode)
    )
