"""Disk, devices, checkout, versions of libraries."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipelines.bert.params import BertParams
from pipelines.frame.errors import ParamsError, broken_rule
from pipelines.frame.hardware import Hardware, visible_gpus
from pipelines.frame.nodes import MACHINES, require_machines
from pipelines.frame.params_reader import ParamsFile, plain, validate
from pipelines.frame.ranks import rank_and_world_size
from pipelines.frame.run_folder import at_work
from pipelines.preflight.dvc_files import size_of_outs
from pipelines.preflight.finding import Finding

_LEAST_INODES = 2_000
_GROUP_S = 20.0
_STATES = 3  # weight, first and second moment of an optimizer, of a checkpoint
_FLOAT = 4
_CHARACTERS = 10_000  # more tokens than a vocabulary of characters has
_TIGHT = 2  # free space below so many times what is needed is worth a warning

# Package → versions that do not work, as a pattern or as a bound, and why.
_BAD = {
    "lightning": (
        r"2\.6\.[23]$",
        "was malicious; update it to 2.6.4 and change every secret this machine knows",
    ),
    "fastapi": (
        r"0\.15[1-9]|0\.1[6-9]\d|0\.[2-9]\d\d|[1-9]",
        "breaks Prefect's server; install fastapi below 0.151",
    ),
    "sqlalchemy": (
        r"2\.[1-9]|[3-9]",
        "makes Prefect's server schedule nothing; install sqlalchemy below 2.1",
    ),
}


def disk(params_file: ParamsFile, folder: Path = Path()) -> Iterator[Finding]:
    """Room for checkpoints of all trainings, each as large as BERT's, and for outs twice,
    here and in DVC's cache.
    """
    bert = validate(params_file, "bert", BertParams)
    hardware = validate(params_file, "hardware", Hardware)
    model, vocabulary = bert.model, params_file.get("tokenizer.vocab_size")
    vocabulary = vocabulary if isinstance(vocabulary, int) else _CHARACTERS
    block = 4 * model.width**2 + 2 * model.width * model.feed_forward_width
    parameters = (vocabulary + model.max_positions) * model.width + model.num_layers * block
    checkpoint = parameters * _FLOAT * _STATES
    # Of each training one checkpoint is being written and one is the best.
    trainings = 1 + len(plain(params_file.get("seq2seq.architectures")))
    needed = (hardware.keep_checkpoints * trainings + 2) * checkpoint + 2 * size_of_outs(folder)
    free, inodes, where = shutil.disk_usage(folder).free, os.statvfs(folder), str(folder.resolve())
    needs = f"{needed / 2**20:,.0f} MiB for checkpoints and outs"
    remedy = "make room or lower hardware.keep_checkpoints"
    if free < needed:
        rule = f"be at least {needs}"
        yield Finding("error", "disk", broken_rule(where, "free MiB", free // 2**20, rule, remedy))
    elif free < _TIGHT * needed:
        rule = f"be comfortably above {needs}"
        yield Finding(
            "warning", "disk", broken_rule(where, "free MiB", free // 2**20, rule, remedy)
        )
    if inodes.f_files and inodes.f_favail < _LEAST_INODES:
        rule = f"be at least {_LEAST_INODES}"
        yield Finding(
            "error",
            "disk",
            broken_rule(where, "free inodes", inodes.f_favail, rule, "delete small files"),
        )


def others_at_work(*, run: bool) -> Iterator[Finding]:
    """Who works in this checkout now, but for the flow that asks: an error where another ``run``
    begins.
    """
    for lock, pid in at_work():
        if pid != os.getppid():
            since = datetime.fromtimestamp(lock.stat().st_mtime).astimezone()
            remedy = f"wait for it, or stop it (kill {pid}; the next run goes on)"
            message = f"process {pid} works here since {since:%H:%M}; {remedy}"
            yield Finding("error" if run else "warning", "at work", message)
            return


def devices(params_file: ParamsFile, *, run: bool = False) -> Iterator[Finding]:
    """GPUs and machines that are asked for, and a precision this processor is slow at; too few
    machines are an error where a ``run`` begins.
    """
    hardware = validate(params_file, "hardware", Hardware)
    gpus = len(visible_gpus())
    line = params_file.place(["hardware", "accelerator"])
    # With auto, a machine without any computes on its processors.
    if hardware.devices > gpus and (hardware.accelerator == "gpu" or _uses(hardware, gpus)):
        limited = (
            f", by CUDA_VISIBLE_DEVICES ({given})"
            if (given := os.environ.get("CUDA_VISIBLE_DEVICES"))
            else ""
        )
        rule = f"be at most the GPUs of this machine ({gpus}{limited})"
        remedy = f"lower it, or set hardware.accelerator to {'cpu' if gpus else 'auto'}"
        yield Finding(
            "error",
            "devices",
            broken_rule(line, "hardware.devices", hardware.devices, rule, remedy),
        )
    try:
        rank_and_world_size(hardware)
    except ParamsError as error:
        yield Finding("error", "devices", str(error))
    try:
        require_machines(hardware)
    except ParamsError as error:
        yield Finding("error" if run else "warning", "devices", str(error))
    machines = int(os.environ.get(MACHINES, "1"))
    if hardware.num_nodes < machines:
        rule = f"be that of the machines of this run ({machines}), else some stand idle"
        message = broken_rule(
            params_file.place(["hardware", "num_nodes"]), "hardware.num_nodes",
            hardware.num_nodes, rule, "raise it, or start fewer",
        )  # fmt: skip
        yield Finding("warning", "devices", message)
    if hardware.num_nodes > 1:
        yield from _names_of_machines()
    if hardware.devices * hardware.num_nodes > 1:
        yield from _group(on_cpu=hardware.accelerator == "cpu")
    precisions = {
        params_file.get("bert.training.precision"),
        params_file.get("seq2seq.common.precision"),
    }
    if "bf16-mixed" in precisions and not _uses(hardware, gpus) and not _has_bf16():
        rule = "suit the processor, which has no avx512_bf16 or amx_bf16"
        remedy = "32-true is faster here"
        yield Finding(
            "warning",
            "devices",
            broken_rule(str(params_file.path), "precision", "bf16-mixed", rule, remedy),
        )


def _names_of_machines() -> Iterator[Finding]:
    """Whether the first machine's is known here, where somebody gives it; and this one's to others:
    gloo tells them the address that it has here.
    """
    if (first := os.environ.get("MASTER_ADDR")) is not None:
        try:
            socket.getaddrinfo(first, None)
        except (OSError, UnicodeError) as error:
            rule = f"be the address of the first machine ({error})"
            remedy = "start by torchrun or SLURM, or set it"
            message = broken_rule("environment", "MASTER_ADDR", first, rule, remedy)
            yield Finding("error", "devices", message)
    name, variable = socket.gethostname(), "GLOO_SOCKET_IFNAME"
    try:
        address = socket.gethostbyname(name)
    except OSError:  # `_group` says so
        return
    if address.startswith("127.") and variable not in os.environ:
        rule = f"have an address that other machines reach, which {address} is not"
        remedy = f"set {variable} and NCCL_SOCKET_IFNAME to its network interface (ip -br addr)"
        yield Finding("warning", "devices", broken_rule("hosts", "name", name, rule, remedy))


def _uses(hardware: Hardware, gpus: int) -> bool:
    """Whether stages will compute on GPUs."""
    return bool(gpus) and hardware.accelerator != "cpu"


def _group(*, on_cpu: bool) -> Iterator[Finding]:
    """Whether ranks can talk here: a process group of one rank,
    on the address this host has for itself.
    """
    script = (
        "import sys, torch, torch.distributed as group\n"
        "gpu = sys.argv[1] == 'False' and torch.cuda.is_available()\n"
        "group.init_process_group('nccl' if gpu else 'gloo', store=group.HashStore(), rank=0, "
        "world_size=1)\n"
        "group.all_reduce(torch.ones(1, device='cuda' if gpu else 'cpu'))\n"
        "group.destroy_process_group()\n"
    )
    where, rule = socket.gethostname(), "let ranks reach each other"
    remedy = (
        "give the host a name that resolves, or set GLOO_SOCKET_IFNAME (on GPUs NCCL_SOCKET_IFNAME)"
    )
    command = [sys.executable, "-c", script, str(on_cpu)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_GROUP_S, check=False
        )
    except subprocess.TimeoutExpired:
        problem = f"no answer within {_GROUP_S:.0f} s"
        yield Finding("warning", "devices", broken_rule(where, "network", problem, rule, remedy))
        return
    if result.returncode:
        problem = (result.stderr.strip().splitlines() or [f"ended with {result.returncode}"])[-1]
        yield Finding("error", "devices", broken_rule(where, "network", problem, rule, remedy))


def _has_bf16() -> bool:
    path = Path("/proc/cpuinfo")
    return (
        not path.is_file()
        or re.search(r"\b(avx512_bf16|amx_bf16)\b", path.read_text(encoding="utf-8")) is not None
    )


def versions() -> Iterator[Finding]:
    """Versions of libraries that are known not to work."""
    for name, (pattern, why) in _BAD.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if re.match(pattern, found):
            yield Finding("error", "versions", f"{name} {found} {why}")


def checkout() -> Iterator[Finding]:
    """Whether a result can be traced to a commit."""
    try:
        result = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        yield Finding(
            "warning",
            "git",
            "git must be installed for results to be traced to a commit; install it",
        )
        return
    if result.returncode:
        yield Finding(
            "warning",
            "git",
            "this folder must be a git checkout for results to be traced; git init, git commit",
        )
        return
    changed = [line[3:] for line in result.stdout.splitlines() if not line.endswith("dvc.lock")]
    if changed:
        some = ", ".join(changed[:3]) + (
            f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        )
        yield Finding(
            "warning",
            "git",
            f"uncommitted changes ({some}) must be committed for results to be traced",
        )
