"""Curvature of a BERT of five million weights: ten largest eigenvalues, ours against
hessian-eigenthings' (``python -m benchmarks.diagnosis``, three minutes).

Both have the same loss, rows, number of eigenvalues and tolerance, two threads, a process of their
own. curvlinops' products are timed too where it can be imported.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.results import Row, write

_WIDTH, _VOCABULARY, _ROWS, _LENGTH, _COUNT, _TOLERANCE = 128, 35_000, 8, 128, 10, 1e-3
GOAL_S = 120.0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", choices=_CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        torch.set_num_threads(2)
        print(json.dumps(_CASES[arguments.one]()))
        return
    found = {name: _in_a_process(name) for name in _CASES}
    ours, theirs = found["ours"], found["theirs"]
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours["values"], theirs["values"], strict=False))
    print(f"{ours['weights']:,} weights; eigenvalues {ours['values'][0]:.4g} … "
          f"{ours['values'][-1]:.4g}; apart by {apart:.2%} at most; "
          f"residuals at most {max(ours['residuals']):.2g}")  # fmt: skip
    step = found["training step"]["mib"]
    rows = [
        Row("10 eigenvalues", "s", ours["seconds"], "hessian-eigenthings", theirs["seconds"],
            theirs["seconds"] / ours["seconds"], 1.0),
        Row("10 eigenvalues", "s", ours["seconds"], "two minutes", GOAL_S,
            GOAL_S / ours["seconds"], 1.0),
        Row("one product H v", "s", ours["product"], "hessian-eigenthings", theirs["product"],
            theirs["product"] / ours["product"], 1.0),
        Row("peak memory", "MiB", ours["mib"], "three training steps", 3 * step,
            3 * step / ours["mib"], 1.0),
    ]  # fmt: skip
    if (other := found["curvlinops"]).get("product"):
        product = other["product"]
        rows.append(Row("one product H v", "s", ours["product"], "curvlinops", product,
                        product / ours["product"], 1.0))  # fmt: skip
    write("diagnosis", rows)


def _in_a_process(name: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.diagnosis", "--one", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def _bert() -> tuple[Any, Any]:
    """Network and its loss on rows of chance."""
    from pipelines.models.bert import Bert
    from pipelines.nn.linear_cross_entropy import linear_cross_entropy
    from pipelines.nn.transformer.params import BertModelParams

    torch.manual_seed(0)
    shape = BertModelParams(
        num_layers=2, width=_WIDTH, num_heads=4, feed_forward_width=4 * _WIDTH, dropout=0.0,
        attention_dropout=0.0, max_positions=_LENGTH, initializer_range=0.05, vocab_pad_multiple=1,
    )  # fmt: skip
    network = Bert(shape, _VOCABULARY).eval()
    tokens = torch.randint(5, _VOCABULARY, (_ROWS, _LENGTH))
    masked = torch.randperm(tokens.numel())[: tokens.numel() * 15 // 100]
    labels, follows = tokens.flatten()[masked], torch.randint(0, 2, (_ROWS,))
    first = torch.arange(_ROWS) * _LENGTH

    def loss() -> torch.Tensor:
        hidden = network(tokens, torch.zeros_like(tokens), None)
        table, bias = network.embeddings.token.weight, network.mlm_bias
        mlm, _, _ = linear_cross_entropy(network.mlm_hidden(hidden, masked), table, bias, labels)
        pairs = F.cross_entropy(network.nsp_logits(network.pooled(hidden, first)), follows)
        return mlm / len(labels) + pairs

    return network, loss


def _mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _ours() -> dict[str, Any]:
    from pipelines.diagnosis.curvature import eigenpairs
    from pipelines.diagnosis.problem import Problem, learnable

    network, loss = _bert()
    started = time.perf_counter()
    problem = Problem(learnable(network), [loss])
    found = eigenpairs(problem.hessian_product, problem.weights(), _COUNT, tolerance=_TOLERANCE)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds, "values": found.values, "residuals": found.residuals,
        "weights": problem.num_weights, "mib": _mib(),
        "product": _timed(problem.hessian_product, problem.num_weights),
    }  # fmt: skip


def _theirs() -> dict[str, Any]:
    import hessian_eigenthings

    from pipelines.nn.plain import twice_differentiable

    network, loss = _bert()

    def plain(*_: Any) -> torch.Tensor:
        with twice_differentiable():
            made: torch.Tensor = loss()
        return made

    started = time.perf_counter()
    operator = hessian_eigenthings.HessianOperator(network, [None], plain)
    found = hessian_eigenthings.lanczos(
        operator, k=_COUNT, tol=_TOLERANCE, which="LA", max_iter=120, seed=0, reorthogonalize=True
    )
    return {
        "seconds": time.perf_counter() - started,
        "values": sorted(found.eigenvalues.tolist(), reverse=True), "mib": _mib(),
        "product": _timed(operator.matvec, sum(p.numel() for p in network.parameters())),
    }  # fmt: skip


def _curvlinops() -> dict[str, Any]:
    try:
        from curvlinops import HessianLinearOperator
    except ImportError:
        return {}
    from pipelines.nn.plain import twice_differentiable

    network, loss = _bert()

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, _: Any) -> torch.Tensor:
            with twice_differentiable():
                made: torch.Tensor = loss()
            return made[None]

    class Itself(torch.nn.Module):
        reduction = "sum"

        def forward(self, value: torch.Tensor, _: Any) -> torch.Tensor:
            return value.sum()

    given = [(torch.zeros(1), torch.zeros(1))]
    parameters = list(network.parameters())
    operator = HessianLinearOperator(
        Whole(), Itself(), parameters, given, check_deterministic=False
    )
    size = sum(parameter.numel() for parameter in parameters)
    return {"product": _timed(lambda vector: operator @ vector, size)}


def _training_step() -> dict[str, Any]:
    network, loss = _bert()
    optimizer = torch.optim.AdamW(network.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return {"mib": _mib()}


def _timed(product: Any, size: int) -> float:
    """Seconds of the fastest of five products."""
    vector, best = torch.randn(size), float("inf")
    for _ in range(6):
        started = time.perf_counter()
        product(vector)
        best = min(best, time.perf_counter() - started)
    return best


_CASES = {
    "ours": _ours,
    "theirs": _theirs,
    "curvlinops": _curvlinops,
    "training step": _training_step,
}

if __name__ == "__main__":
    main()
