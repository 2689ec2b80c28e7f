"""What only a GPU can show: ``python -m tests.gpu [--device cpu] [--only CASE …]``; no pytest, DVC,
Prefect or W&B.

Each case runs in a process of its own with a time limit, the most valuable first, and says so as it
ends; the exit code is 1 if one failed. ``--device cpu`` runs the same cases on a CPU, to try the
script itself.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import gpu_fast
from tests.gpu_project import (
    PROJECT,
    ROOT,
    clean,
    copy_of_project,
    digest,
    interrupt,
    make_project,
    must,
)

ARCHITECTURES = ("gru_attention", "gru", "lstm", "transformer", "bert2bert")


def _moved(batch: Any, where: str) -> Any:
    """A batch with its tensors on a device."""
    import torch

    fields = batch._asdict().items()
    return batch._replace(
        **{key: value.to(where) for key, value in fields if isinstance(value, torch.Tensor)}
    )


def update_of_every_family(device: str) -> None:
    """One update in float32, with micro-batches, against the CPU's: loss 1e-5, gradients 1e-4 of
    the largest.
    """
    import torch

    from pipelines.seq2seq.module import Seq2SeqFinetuning
    from pipelines.seq2seq.params import CommonParams
    from tests.models.families import BLOCKS, build
    from tests.optimization import OPTIMIZATION, PAIRS
    from tests.training.ranked import START, few_pairs
    from tests.training.test_ranks_without_rows import _gradients
    from pipelines.seq2seq.data import PairBatches  # isort: skip

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    common = CommonParams(**OPTIMIZATION, updates=3, batch_size=4, label_smoothing=0.1, **PAIRS)
    batch = PairBatches(few_pairs(), 4, seed=1)(START)
    worst: dict[str, float] = {}
    for name in BLOCKS:
        found = {}
        for where, double in (("cpu", True), ("cpu", False), (device, False)):
            settings = {"learning_rate": 0.1, "updates": 3, "validation_batches": []}
            module = Seq2SeqFinetuning(build(name, double=double), common, **settings).to(where)
            moved = _moved(batch, where)
            found["exact" if double else where] = [
                _gradients(module, moved, rows) for rows in (0, 3)
            ]
        for exact, here, there in zip(found["exact"], found["cpu"], found[device], strict=True):
            key = next(key for key in exact[2] if key.startswith("loss 0"))
            assert abs(there[2][key] - exact[2][key]) <= 1e-5 * abs(exact[2][key]), (
                name,
                there[2],
                exact[2],
            )
            # a plain RNN with large weights is badly conditioned
            allowed = max(1e-4, 4 * _apart(here[0], exact[0]))
            worst[name] = max(worst.get(name, 0.0), _apart(there[0], exact[0]) / allowed)
    print(json.dumps({name: float(f"{value:.1e}") for name, value in worst.items()}))
    assert max(worst.values()) < 1, worst


def pretraining_and_classifier(device: str) -> None:
    """One update of both BERTs against the CPU's, packed and not."""
    import torch

    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.bert.module import Baselines, BertPretraining
    from pipelines.models.bert import Bert
    from tests.bert.sample import bert_params, two_languages
    from tests.training.test_ranks_without_rows import START, _gradients

    for packed in (False, True):
        params = bert_params(segments={"packed": packed})
        batch = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)(START)
        found = []
        for where in ("cpu", device):
            torch.manual_seed(0)
            module = BertPretraining(
                Bert(params.model, 300), params, [], Baselines(0.0, 5.0, 5.0, 0.5)
            ).to(where)
            moved = _moved(batch, where)
            found.append(_gradients(module, moved, 0))
        assert _apart(found[1][0], found[0][0]) < 1e-4, packed


def _apart(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest difference of two networks' gradients, in shares of the largest gradient.

    Not parameter by parameter: the gradient of a key's bias is 0 but for rounding, for softmax
    ignores it.
    """
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    return (
        max(float((ours[name].cpu() - gradient).abs().max()) for name, gradient in theirs.items())
        / largest
    )


def training_is_exact_after_kills(device: str) -> None:
    """BERT with dropout and two loader processes: twice the same bytes; killed, cancelled, gone on:
    the same again.
    """
    folder = copy_of_project()
    digests = []
    for kills in ((), (), ((signal.SIGKILL, 15), (signal.SIGTERM, 35))):
        clean(folder, "bert", "bert")
        for number, update in kills:
            code = interrupt(folder, number, update, "pipelines.bert.pretrain")
            assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL), code
        text = must(folder, "pipelines.bert.pretrain")
        assert ("going on after update" in text) == bool(kills)
        digests.append(digest(folder / "data/bert"))
    assert len(set(digests)) == 1, digests


def recurrent_training_and_selected_weights(device: str) -> None:
    """Every family trains to its out, twice alike, and validates its selected weights where it
    trained.
    """
    folder = copy_of_project()
    must(folder, "pipelines.bert.pretrain")
    for name in ARCHITECTURES:
        digests = []
        for _ in range(2 if name in ("gru_attention", "lstm") else 1):
            clean(folder, f"seq2seq@{name}", f"seq2seq/{name}")
            text = must(folder, "pipelines.seq2seq.finetune", name)
            digests.append(digest(folder / "data/seq2seq" / name))
        assert "weights of update" in text
        assert len(set(digests)) == 1, name
        print(name, "trained", flush=True)


def going_on_elsewhere(device: str) -> None:
    """A checkpoint of this device is gone on from on the CPU, and the other way round; both say
    so.
    """
    folder = copy_of_project()
    params = folder / "params.yaml"
    text = params.read_text()
    there = text.replace("accelerator: gpu", "accelerator: cpu")
    for first, second in ((text, there), (there, text)):
        clean(folder, "bert", "bert")
        params.write_text(first)
        assert interrupt(folder, signal.SIGTERM, 15, "pipelines.bert.pretrain") == 75
        params.write_text(second)
        said = must(folder, "pipelines.bert.pretrain")
        assert "going on after update" in said
        assert ("last bits may differ" in said) == (device != "cpu"), said[:500]


def search_finds_the_same(device: str) -> None:
    """Ids of all searches in float32, on this device and on the CPU."""
    folder = copy_of_project()
    must(folder, "pipelines.bert.pretrain")
    params = folder / "params.yaml"
    text = params.read_text()
    for name in ("gru_attention", "transformer", "bert2bert"):
        must(folder, "pipelines.seq2seq.finetune", name)
        found = []
        for there in (text, text.replace("accelerator: gpu", "accelerator: cpu")):
            params.write_text(there)
            subprocess.run(
                [
                    "rm",
                    "-rf",
                    str(folder / f"data/decoding/{name}"),
                    str(folder / f".runs/decoding@{name}"),
                ],
                check=True,
            )
            must(folder, "pipelines.decoding.decode", name)
            lines = (folder / f"data/decoding/{name}/beam.nbest.jsonl").read_text().splitlines()
            found.append(
                [[one["tokens"] for one in json.loads(line)["hypotheses"]] for line in lines]
            )
        params.write_text(text)
        same = sum(one == other for one, other in zip(*found, strict=True))
        print(f"{name}: {same} of {len(found[0])} sentences alike", flush=True)
        assert same == len(found[0])


def compiled_updates(device: str) -> None:
    """A compiled update is that of the plain network, whatever the shapes
    of batches, packed, and by micro-batches: loss and gradients 1e-4.
    """
    import torch

    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.bert.module import Baselines, BertPretraining
    from pipelines.models.bert import Bert
    from tests.bert.sample import bert_params, two_languages
    from tests.training.test_ranks_without_rows import START, _gradients

    for packed in (False, True):
        params = bert_params(segments={"packed": packed}, phases={"batch_size": 6})
        source = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
        modules = []
        for _ in range(2):
            torch.manual_seed(0)
            network = Bert(params.model, 300)
            modules.append(BertPretraining(network, params, [], Baselines(0.0, 5.0, 5.0, 0.5)))
        plain, compiled = (module.to(device) for module in modules)
        compiled.compile_step()
        position = START
        for _ in range(3):
            batch = _moved(source(position), device)
            for rows in (0, 2):
                expected, found = (_gradients(one, batch, rows) for one in (plain, compiled))
                assert _apart(found[0], {k: v.cpu() for k, v in expected[0].items()}) < 1e-4
            position = source.after(position)


def others_read_what_it_wrote(device: str) -> None:
    """Scores and report of a whole run with weights of this device."""
    folder = copy_of_project()
    must(folder, "pipelines.bert.pretrain")
    for name in (*ARCHITECTURES, "rnd2rnd"):
        must(folder, "pipelines.seq2seq.finetune", name)
        must(folder, "pipelines.decoding.decode", name)
    for stage in ("pipelines.evaluation.evaluate", "pipelines.report.write"):
        must(folder, stage)
    assert (folder / "data/report/scores.json").is_file()


def out_of_memory_names_the_key(device: str) -> None:
    """Rows that a device with little room does not hold: the key to lower, and what fits."""
    import torch

    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.bert.module import Baselines, BertPretraining
    from pipelines.models.bert import Bert
    from pipelines.training.memory import too_large
    from tests.bert.sample import bert_params, two_languages
    from tests.training.test_ranks_without_rows import START

    params = bert_params(segments={"packed": False}, phases={"batch_size": 6})
    source = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
    module = BertPretraining(Bert(params.model, 300), params, [], Baselines(0.0, 5.0, 5.0, 0.5))
    module.to(device)
    batch = _moved(source(START), device)
    room, row = 12, 2**20  # of a pretended device, where there is no real one to fill

    def attempt(rows: int) -> None:
        if device == "cpu" and rows > room:
            raise torch.OutOfMemoryError("pretended")
        filled = torch.empty(rows * row * 8, dtype=torch.uint8, device=device)  # 8 MiB a row
        module.losses(next(iter(batch.split(1))))
        del filled

    if device != "cpu":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((room * 8 * row + 2**28) / total)
    message = str(too_large(4096, attempt, torch.device(device)))
    assert "hardware.micro_batch_size (4096)" in message, message
    assert "which do fit" in message, message
    print(message, flush=True)


CASES: dict[str, tuple[Callable[[str], None], float]] = {
    "update_of_every_family": (update_of_every_family, 90),
    "pretraining_and_classifier": (pretraining_and_classifier, 60),
    "kernel_of_rows_without_padding": (gpu_fast.kernel_of_rows_without_padding, 60),
    "updates_without_padding": (gpu_fast.updates_without_padding, 150),
    "training_is_exact_after_kills": (training_is_exact_after_kills, 200),
    "recurrent_training_and_selected_weights": (recurrent_training_and_selected_weights, 240),
    "going_on_elsewhere": (going_on_elsewhere, 200),
    "search_finds_the_same": (search_finds_the_same, 240),
    "compiled_training_is_exact_after_kills": (
        gpu_fast.compiled_training_is_exact_after_kills,
        300,
    ),
    "compiled_updates": (compiled_updates, 180),
    "others_read_what_it_wrote": (others_read_what_it_wrote, 240),
    "out_of_memory_names_the_key": (out_of_memory_names_the_key, 120),
}


def main() -> int:
    """Every case, one after the other; 1 if one failed or took too long."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all of them")
    arguments = parser.parse_args()
    if arguments.case:
        CASES[arguments.case][0](arguments.device)
        return 0
    failed, ends = 0, time.monotonic() + 60 * arguments.minutes
    os.environ[PROJECT] = str(make_project(Path(tempfile.mkdtemp()) / "project", arguments.device))
    for name in arguments.only:
        started = time.monotonic()
        left = min(CASES[name][1], ends - started)
        if left < 10:
            print(f"NOT REACHED  {name}", flush=True)
            continue
        command = [sys.executable, "-m", "tests.gpu", "--device", arguments.device, "--case", name]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False
            )
            code, said = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            code, said = 124, (error.stdout or b"").decode() + (error.stderr or b"").decode()
        failed += code != 0
        took, verdict = time.monotonic() - started, "FAILED" if code else "passed"
        print(f"{verdict}  {name}  {took:.0f} s  {said.strip()[-1500:]}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
