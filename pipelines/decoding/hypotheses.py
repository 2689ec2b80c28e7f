"""A model and the test sentences → hypotheses of all searches, proved and written."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.decoding.batches import Batch, batches, search_all
from pipelines.decoding.forced_decoding import log_probabilities
from pipelines.decoding.mbr import most_like_the_others
from pipelines.decoding.options import Hypothesis
from pipelines.decoding.params import DecodingParams
from pipelines.decoding.strategies import searches
from pipelines.decoding.workers import Workers
from pipelines.formats.shards.arrays import PairShard, Ragged
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.formats.vocabulary.special_tokens import END
from pipelines.frame.errors import CheckFailed, broken_rule
from pipelines.frame.records import Records
from pipelines.frame.stage import StageRun

SHARDS, TOKENIZER = Path("data/shards"), Path("data/tokenizer")
# Allowed difference between search and forced decoding, in nats per token.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1, "int8": 0.3}


def write_hypotheses(run: StageRun, model: nn.Module) -> dict[str, Any]:
    """Search in all ways the section asks for, prove the scores, write the hypotheses;
    what was measured.

    Raises:
        CheckFailed: a hypothesis' score is not what teacher forcing gives it.
    """
    params = run.section("decoding", DecodingParams)
    tokenizer = SubwordTokenizer.load(TOKENIZER)
    pairs = PairShard.open(SHARDS, "test")
    source, workers = pairs.source, Workers(model, run.hardware, params.precision)
    exact = workers if params.precision == "float32" else Workers(model, run.hardware)
    measured: dict[str, Any] = {
        "sentences": len(source),
        "empty_sources": int((source.lengths == 0).sum()),
    }
    if longer := num_longer(pairs, params.max_length):
        rule = f"hold the references: {longer} of {len(pairs)} have more tokens, their end included"
        run.warn(
            broken_rule("params.yaml", "decoding.max_length", params.max_length, rule, "raise it")
        )
    for name, strategy in searches(params, run.seed).items():
        where = f"{run.stage.instance}, {name}"
        done = Records(run.folder.path / f"found.{name}.jsonl")
        found = search_all(workers, source, strategy, params.batch_tokens, done, where)
        tolerance = _TOLERANCE[params.precision]
        worst = check_scores(exact, source, found.hypotheses, params.batch_tokens, where, tolerance)
        speed = found.searched / found.seconds if found.searched else 0.0
        run.timings.append(
            {"search": name, "beam_size": strategy.beam_size, "sentences_per_s": speed}
        )
        print(
            f"{name}: {len(source)} sentences, {speed:.0f} sentences/s, forced decoding within "
            f"{worst:.1e} nats/token",
            flush=True,
        )
        best_first = found.hypotheses
        if name == "beam" and params.rerank == "mbr":
            uniform = params.strategy.name == "sampling"
            best_first = [
                group
                and most_like_the_others(
                    group, [tokenizer.decode(one.tokens) for one in group], uniform=uniform
                )
                for group in best_first
            ]
        _write(run.work, name, best_first, tokenizer, with_scores=name in ("greedy", "beam"))
        measured[name] = {
            "beam_size": strategy.beam_size,
            **_summary([group[0] for group in best_first if group]),
        }
    beam = measured["beam"]
    run.say(
        f"{measured['sentences']:,} sentences, beam {beam['beam_size']}: "
        f"{beam['mean_length']:.1f} tokens on average, {beam['without_end']} without an end"
    )
    return measured


def num_longer(pairs: PairShard, max_length: int) -> int:
    """References, as the shards have them, that no hypothesis of so many tokens,
    its end included, can equal.
    """
    return int((pairs.target.lengths + 1 > max_length).sum())


def _summary(best: list[Hypothesis]) -> dict[str, float]:
    return {
        "mean_score": sum(hypothesis.score for hypothesis in best) / max(1, len(best)),
        "mean_length": sum(len(hypothesis.tokens) for hypothesis in best) / max(1, len(best)),
        "without_end": sum(hypothesis.tokens[-1] != END for hypothesis in best),
    }


def check_scores(
    workers: Workers,
    source: Ragged,
    hypotheses: list[list[Hypothesis]],
    budget: int,
    where: str,
    tolerance: float = 1e-4,
) -> float:
    """Largest difference per token between a search's log-probability and teacher forcing,
    of all hypotheses.

    Raises:
        CheckFailed: one is too large, or a sentence has no hypothesis.
    """

    def check(model: Any, device: torch.device, batch: Batch) -> float:
        worst = 0.0
        for rank in range(max(len(hypotheses[number]) for number in batch.numbers)):
            rows = [
                row for row, number in enumerate(batch.numbers) if rank < len(hypotheses[number])
            ]
            given = [hypotheses[batch.numbers[row]][rank] for row in rows]
            source_BS = batch.source_BS[rows].to(device)
            lengths_B = batch.lengths_B[rows].to(device)
            again = log_probabilities(
                model, source_BS, lengths_B, [hypothesis.tokens for hypothesis in given]
            )
            for row, hypothesis, value in zip(rows, given, again, strict=True):
                difference = abs(value - hypothesis.log_probability) / len(hypothesis.tokens)
                worst = max(worst, difference)
                if not difference <= tolerance:
                    raise CheckFailed(
                        f"{where}: log-probability of hypothesis {rank} of test sentence "
                        f"{batch.numbers[row]} ({hypothesis.log_probability:.6f}) must equal its "
                        f"teacher-forced one ({value:.6f}); search and model disagree, which is a "
                        "bug of this project"
                    )
        return worst

    if empty := [
        number for number, group in enumerate(hypotheses) if not group and source.lengths[number]
    ]:
        rule = "must be found; lower decoding.min_length or no_repeat, they leave nothing to say"
        raise CheckFailed(f"{where}: hypotheses of test sentence {empty[0]} (0) {rule}")
    return max(
        (worst for _, worst in workers.map(check, list(batches(source, budget)))), default=0.0
    )


def _write(
    folder: Path,
    name: str,
    hypotheses: list[list[Hypothesis]],
    tokenizer: SubwordTokenizer,
    *,
    with_scores: bool,
) -> None:
    """``<name>.txt``, one best translation a line, and ``<name>.nbest.jsonl`` with scores."""
    texts = [[tokenizer.decode(hypothesis.tokens) for hypothesis in group] for group in hypotheses]
    best = "".join(f"{group[0] if group else ''}\n" for group in texts)
    (folder / f"{name}.txt").write_text(best, encoding="utf-8", newline="\n")
    if not with_scores:
        return
    with (folder / f"{name}.nbest.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, (group, decoded) in enumerate(zip(hypotheses, texts, strict=True)):
            listed = [
                as_json(hypothesis, text) for hypothesis, text in zip(group, decoded, strict=True)
            ]
            file.write(
                json.dumps({"sentence": number, "hypotheses": listed}, ensure_ascii=False) + "\n"
            )


def as_json(hypothesis: Hypothesis, text: str) -> dict[str, Any]:
    """A hypothesis for a line of JSON."""
    utility = {} if hypothesis.utility is None else {"utility": hypothesis.utility}
    return {
        "text": text,
        "score": hypothesis.score,
        "log_probability": hypothesis.log_probability,
        **utility,
        "tokens": list(hypothesis.tokens),
        "token_log_probabilities": list(hypothesis.token_log_probabilities),
        "parents": list(hypothesis.parents),
    }
