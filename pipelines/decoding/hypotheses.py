"""A model and the test sentences → greedy and beam hypotheses, proved and written."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipelines.decoding.beam_search import StepModel, beam_search
from pipelines.decoding.length_scores import LengthScore
from pipelines.decoding.options import Hypothesis, SearchOptions
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.rescoring import ForcedModel, log_probabilities
from pipelines.errors import CheckFailed
from pipelines.hardware import Hardware
from pipelines.seq2seq.sources import sources
from pipelines.shards.format import PairShard, Ragged
from pipelines.stage import StageRun
from pipelines.tokenizer.special_tokens import END, START
from pipelines.tokenizer.tokenizer import WordPieceTokenizer

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")
_TOLERANCE = 1e-4  # nats per token between a search's score and teacher forcing


class SearchedModel(StepModel, ForcedModel, Protocol):
    """What is searched step by step and scored at once."""


def prepare_device(hardware: Hardware) -> torch.device:
    """Where to decode; sets threads, and arithmetic that scores alike both ways."""
    torch.set_num_threads(hardware.num_threads)
    torch.backends.cudnn.allow_tf32 = False  # a GRU's scores would differ from their teacher-forced ones
    return torch.device("cuda" if hardware.accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def write_hypotheses(run: StageRun, model: SearchedModel, device: torch.device) -> dict[str, Any]:
    """Search greedily and with the beam, prove the scores, write the hypotheses; what was measured.

    Raises:
        CheckFailed: a hypothesis' score is not what teacher forcing gives it.
    """
    params = run.section("decoding", DecodingParams)
    tokenizer = WordPieceTokenizer.load(TOKENIZER)
    source = PairShard.open(SHARDS, "test").source
    score = LengthScore("average", params.length_penalty)
    beam = SearchOptions(params.beam_size, params.num_best, params.max_length, START, (END,), score)
    searches = {"greedy": replace(beam, beam_size=1, num_best=1), "beam": beam}
    measured: dict[str, Any] = {"sentences": len(source)}
    for name, options in searches.items():
        where = f"{run.stage.instance}, {name}"
        found = _search(model, source, options, batch_size=params.batch_size, device=device, where=where)
        speed = len(source) / found.seconds
        run.timings.append({"search": name, "sentences_per_s": speed})
        print(
            f"{name}: {len(source)} sentences, {speed:.0f} sentences/s, rescored to {found.worst:.1e} nats/token",
            flush=True,
        )
        _write(run.work, name, found.hypotheses, tokenizer)
        best = [group[0] for group in found.hypotheses]
        measured[name] = {
            "mean_score": sum(hypothesis.score for hypothesis in best) / len(best),
            "mean_length": sum(len(hypothesis.tokens) for hypothesis in best) / len(best),
            "without_end": sum(hypothesis.tokens[-1] != END for hypothesis in best),
        }
    return measured


@dataclass(frozen=True)
class _Searched:
    """One search of the test set.

    Attributes:
        hypotheses: of every sentence, best first.
        seconds: of the search alone.
        worst: largest difference between a best score and its teacher-forced one, nats per token.
    """

    hypotheses: list[list[Hypothesis]]
    seconds: float
    worst: float


def _search(
    model: SearchedModel, source: Ragged, options: SearchOptions, *, batch_size: int, device: torch.device, where: str
) -> _Searched:
    """Search in order of length; the hypotheses are in the order of the test set."""
    order = np.argsort(source.lengths, kind="stable")
    hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(source))]
    seconds, worst = 0.0, 0.0
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        source_BS, lengths_B = (tensor.to(device) for tensor in sources([source[row] for row in rows]))
        started = time.perf_counter()
        found = beam_search(model, source_BS, lengths_B, options)
        seconds += time.perf_counter() - started
        best = {int(row): group[0] for row, group in zip(rows, found, strict=True)}
        worst = max(worst, _rescored(model, source_BS, lengths_B, best, where))
        for row, group in zip(rows, found, strict=True):
            hypotheses[row] = group
    return _Searched(hypotheses, seconds, worst)


def _rescored(
    model: SearchedModel, source_BS: Tensor, lengths_B: Tensor, best: dict[int, Hypothesis], where: str
) -> float:
    """Largest difference per token between search and teacher forcing; ``best`` has the numbers of the sentences."""
    again = log_probabilities(model, source_BS, lengths_B, [hypothesis.tokens for hypothesis in best.values()])
    worst = 0.0
    for (row, hypothesis), value in zip(best.items(), again, strict=True):
        difference = abs(value - hypothesis.log_probability) / len(hypothesis.tokens)
        if not difference <= _TOLERANCE:
            raise CheckFailed(
                f"{where}: log-probability of test sentence {row} ({hypothesis.log_probability:.6f}) must equal its "
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
