"""The frame of every stage: check, lock, compute, commit.

A stage's verb module declares what it reads (`Stage`) and offers a function that computes into
``run.work`` and returns its metrics. This module does the rest, the same way for all of them: it
validates the sections, arms the process, finds the run folder, and moves the finished files to the
stage's out as its last act. Verb modules import torch and Lightning inside that function, so
signals are handled before the seconds those imports take.
"""

import contextlib
import errno
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter

from pipelines.frame.energy import EnergyMeter
from pipelines.frame.errors import (
    EXIT_FAILED,
    MasklineError,
    ParamsError,
    PeerLost,
    Preempted,
    broken_rule,
)
from pipelines.frame.files import describe_input, digest, write_json
from pipelines.frame.hardware import Hardware, limit_threads, settle_compiler
from pipelines.frame.imports import code_of
from pipelines.frame.left_overs import set_aside
from pipelines.frame.nodes import joined
from pipelines.frame.params_problems import NAME, NAMED
from pipelines.frame.params_reader import ParamsFile, plain, read_params, validate
from pipelines.frame.processes import (
    PoliteStop,
    die_with_parent,
    exclusive,
    leave_rank,
    outlive_readers,
)
from pipelines.frame.provenance import environment_of, made_of, require_unchanged
from pipelines.frame.ranks import process_rank
from pipelines.frame.records import Records
from pipelines.frame.run_folder import (
    RUNS,
    RunFolder,
    home,
    key_of,
    release,
    release_others,
)
from pipelines.frame.tracking import Tracker, TrackingParams, identity_of, nested

T = TypeVar("T")
Metrics = dict[str, Any]
_STATES: dict[type, str] = {Preempted: "preempted", PeerLost: "lost"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # for files, says the system


@dataclass(frozen=True)
class Stage:
    """What one stage instance reads and where its result goes.

    Attributes:
        name: name of the stage.
        entry: the verb module, ``pipelines.bert.pretrain``.
        sections: dotted path in params.yaml → schema. Exactly the stage's DVC params.
        inputs: data files and folders it reads. Exactly the stage's data dependencies.
        item: the architecture, task or ensemble, for stages that exist once for each.
        modules: modules the entry imports by a name that params decide.
        folder: the data folder, where it is not the stage's name.
    """

    name: str
    entry: str
    sections: Mapping[str, Any]
    inputs: tuple[Path, ...]
    item: str | None = None
    modules: tuple[str, ...] = ()
    folder: str = ""

    @property
    def instance(self) -> str:
        """DVC's name of the instance: ``seq2seq@gru``."""
        return f"{self.name}@{self.item}" if self.item else self.name

    @property
    def out(self) -> Path:
        """The folder the stage commits."""
        return Path("data", self.folder or self.name, self.item or "")

    def code(self) -> list[Path]:
        """The project files that decide the result."""
        return code_of([self.entry, *self.modules])


@dataclass
class StageRun:
    """A stage at work: its validated params, its folder, its logs, its stop request.

    Attributes:
        spent: seconds of earlier attempts of this run, as far as they were logged.
        trial: is given a training's module, its batches and this, instead of training.
    """

    stage: Stage
    params: Mapping[str, Any]
    hardware: Hardware
    folder: RunFolder
    stop: PoliteStop
    tracker: Tracker
    origin: dict[str, Any]
    started: float
    warnings: list[str] = field(default_factory=list)
    made: str = ""
    spent: float = 0.0
    energy: EnergyMeter = field(default_factory=EnergyMeter)
    trial: Callable[[Any, Any, "StageRun"], NoReturn] | None = None

    def section(self, path: str, schema: type[T]) -> T:
        """A declared section, as its schema."""
        value = self.params[path]
        assert not isinstance(schema, type) or isinstance(value, schema), (path, schema)
        return value

    @property
    def seed(self) -> int:
        """The one seed of the whole project."""
        return self.section("seed", int)

    @property
    def work(self) -> Path:
        """The out under construction."""
        return self.folder.work

    @property
    def seconds(self) -> float:
        """What the run has taken until now, earlier attempts among it."""
        return self.spent + time.perf_counter() - self.started

    @property
    def metrics(self) -> Records:
        """Curves: only what params, data and code determine."""
        return Records(self.folder.path / "metrics.jsonl")

    @property
    def timings(self) -> Records:
        """Seconds, speeds and bytes; never part of an out."""
        return Records(self.folder.path / "timings.jsonl")

    def log(
        self, step: int, values: Mapping[str, float], timings: Mapping[str, float] | None = None
    ) -> None:
        """One point of the curves, and what it cost."""
        self.metrics.append({"step": step, **values})
        if timings:
            self.timings.append({"step": step, "seconds_so_far": self.seconds, **timings})
        self.tracker.log({"step": step, **values, **(timings or {})})

    def warn(self, message: str) -> None:
        """Say what may make a result mean less than it seems;
        the stage's metrics and the results table keep it.

        Args:
            message: holds only what params, data and code determine.
        """
        if process_rank() == 0 and message not in self.warnings:
            self.warnings.append(message)
            print(f"warning: {message}", file=sys.stderr, flush=True)

    def say(self, made: str) -> None:
        """Give the stage's last line, printed once its out is there: what it made, and what it
        dropped.
        """
        self.made = made

    @property
    def samples(self) -> Records:
        """What a model answers, validation after validation: ``{step, samples:
        [{column: text}]}``.
        """
        return Records(self.folder.path / "samples.jsonl")

    def log_samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """A few answers of the model, all with the same columns, for eyes."""
        self.samples.append({"step": step, "samples": [dict(sample) for sample in samples]})
        self.tracker.log_table(step, "samples", samples)

    def show_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Give W&B a table of results; all rows have the same columns."""
        self.tracker.log_table(0, name, rows)

    def resume_at(self, step: int) -> None:
        """Drop points later than the checkpoint and give W&B the ones before it."""
        if process_rank() > 0:
            return
        # What came after the checkpoint was lost, and yet it took its time.
        self.spent = max((one.get("seconds_so_far", 0.0) for one in self.timings.read()), default=0)
        for records in (self.metrics, self.timings, self.samples):
            records.rewind(step)
        for record in self.metrics.read():
            self.tracker.log(record)
        for record in self.samples.read():
            self.tracker.log_table(record["step"], "samples", record["samples"])


def trial_run(stage: Stage, params_file: ParamsFile, hardware: Hardware, path: Path) -> StageRun:
    """A stage at work in a folder of its own, that nobody follows and nothing comes of.

    Raises:
        ParamsError: a section is not what its schema says.
    """
    params = {path: validate(params_file, path, schema) for path, schema in stage.sections.items()}
    folder = RunFolder(path)
    folder.work.mkdir(parents=True, exist_ok=True)
    origin = {"seed": params.get("seed"), "params": "", "data": ""}
    return StageRun(
        stage, params, hardware, folder, PoliteStop(), Tracker.of_nobody(), origin,
        time.perf_counter(),
    )  # fmt: skip


def run_stage(
    declare: Callable[[ParamsFile], Stage], compute: Callable[[StageRun], Metrics]
) -> int:
    """Run one stage to its commit; the process exit code.

    0 done, 2 bad params or input, 75 told to stop (start again to go on), 1 anything else.
    """
    started = time.perf_counter()
    stop = PoliteStop()
    stop.install()
    outlive_readers()
    try:
        # A machine that has joined has nothing to save, and may wait for one that is gone.
        die_with_parent(signal.SIGKILL if joined() else signal.SIGTERM)
        params_file = read_params()
        hardware = validate(params_file, "hardware", Hardware)
        limit_threads(hardware.num_threads)
        settle_compiler(RUNS / "compiled", deterministic=hardware.deterministic)
        stage = declare(params_file)
        params = {
            path: validate(params_file, path, schema) for path, schema in stage.sections.items()
        }
        with _locked(stage):
            if process_rank() == 0 and (moved := set_aside(params_file)):
                print(f"set aside in {RUNS}/left_overs, of other params: {', '.join(moved)}")
            code = _run(stage, params_file, params, hardware, stop, compute, started)
        return leave_rank(code)
    except (MasklineError, Preempted, OSError) as error:
        return _report(error)


def item_argument(arguments: list[str], mapping: str) -> str:
    """The one argument of stages that exist once per item of a mapping.

    Raises:
        ParamsError: there is not exactly one, or it is no name: a folder of that name is going to
            be replaced.
    """
    if len(arguments) != 1:
        raise ParamsError(f"arguments ({arguments}) must be one key of {mapping}; name it")
    if not re.fullmatch(NAME, arguments[0]):
        raise ParamsError(broken_rule("params.yaml", mapping, arguments[0], NAMED, "rename it"))
    return arguments[0]


@contextlib.contextmanager
def _locked(stage: Stage) -> Iterator[None]:
    """The launching process alone takes the lock; ranks it starts work under it."""
    if process_rank() > 0:
        yield
        return
    with exclusive(RUNS / stage.instance / "lock"):
        yield


def _run(
    stage: Stage,
    params_file: ParamsFile,
    params: Mapping[str, Any],
    hardware: Hardware,
    stop: PoliteStop,
    compute: Callable[[StageRun], Metrics],
    started: float,
) -> int:
    values = {path: plain_value(value) for path, value in params.items()}
    start = made_of(params_file, params, stage.inputs, stage.code())
    inputs, code = start["inputs"], start["code"]
    key = key_of(stage.instance, values, inputs, code)
    folder = RunFolder.open(stage.instance, key, clean=process_rank() == 0)
    origin = {
        "seed": values.get("seed"),
        "params": digest(values)[:16],
        "data": digest(inputs)[:16],
    }
    environment = environment_of(hardware)
    if process_rank() == 0:
        write_json(folder.path / "origin.json", {**origin, **environment, "key": key, **start})
        for path in stage.inputs:
            release(path)
        release_others(stage.instance, key)
    group = f"{environment['commit'][:8]}-{digest(plain(params_file.root))[:8]}"
    identity = identity_of(
        stage, key, os.environ.get("MASKLINE_GROUP", group),
        {"params": nested(values), "inputs": inputs, "code": code, "origin": origin} | environment,
    )  # fmt: skip
    if process_rank() == 0:
        write_json(folder.path / "tracking.json", asdict(identity))
    tracker = Tracker(validate(params_file, "tracking", TrackingParams), home() / RUNS, identity)
    run = StageRun(stage, params, hardware, folder, stop, tracker, origin, started)
    if process_rank() == 0:
        run.energy.start()
        if pid := folder.killed_process():
            print(f"{stage.instance}: process {pid} was killed; what it saved is gone on with")
    folder.write_status("running", pid=os.getpid())
    try:
        metrics = compute(run)
        if process_rank() == 0:
            now = made_of(read_params(), params, stage.inputs, stage.code())
            require_unchanged(stage.instance, start, now)
        with stop.cooperative():  # a commit is finished, whoever asks for a stop
            _commit(run, metrics)
    except BaseException as error:
        code_of_exit = _report(error)
        state = _STATES.get(type(error), "failed")
        try:
            folder.write_status(state, error=str(error), exit_code=code_of_exit)
        except OSError:  # the disk is full
            # The status must not stay "running", for then a flow would try again.
            (folder.path / "status.json").unlink(missing_ok=True)
        tracker.finish({"state": state}, exit_code=code_of_exit)
        return code_of_exit
    folder.write_status("finished", exit_code=0)
    return 0


def _commit(run: StageRun, metrics: Metrics) -> None:
    if process_rank() > 0:
        return
    warnings = {"warnings": run.warnings} if run.warnings else {}
    write_json(run.work / "metrics.json", {"origin": run.origin, **metrics, **warnings})
    if curves := run.metrics.read():
        write_json(run.work / "curves.json", curves)
    if samples := run.samples.read():
        write_json(run.work / "samples.json", samples)
    run.folder.commit(run.stage.out)
    if run.made:
        print(f"{run.stage.instance}: {run.made}", flush=True)
    cost = {"seconds": run.seconds, "peak_mib": _peak_mib()}
    # Of a run that was gone on with nobody measured the beginning.
    if (joules := run.energy.joules()) is not None and not run.spent:
        cost["joules"] = joules
    run.timings.append(cost)
    _tell_of_out(run)
    run.tracker.finish({**metrics, **cost, "state": "finished"})


def _tell_of_out(run: StageRun) -> None:
    """The out as an artifact of W&B, with what it was made of."""
    stage = run.stage
    facts = {"origin": run.origin, **describe_input(stage.out)}
    inputs = [path.as_posix().replace("/", "-") for path in stage.inputs]
    run.tracker.log_out(stage.out.as_posix().replace("/", "-"), stage.name, facts, inputs)


def _report(error: BaseException) -> int:
    if isinstance(error, Preempted):
        print(f"stopped: {error}", file=sys.stderr)
    elif isinstance(error, MasklineError):
        print(f"error: {error}", file=sys.stderr)
    elif any(os.strerror(number) in str(error) for number in _NO_ROOM):
        remedy = "make room (df -h . shows what is mounted), then start again to go on"
        print(f"error: files must be written, but: {error}; {remedy}", file=sys.stderr)
    elif isinstance(error, PermissionError):
        print(f"error: {error}; give this user access, then start again to go on", file=sys.stderr)
    else:
        traceback.print_exception(error)
    return error.exit_code if isinstance(error, MasklineError | Preempted) else EXIT_FAILED


def _peak_mib() -> float:
    unit = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def plain_value(value: Any) -> Any:
    """A section as its digest is made of it: JSON, without what no stage reads."""
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json())
    return TypeAdapter(Any).dump_python(value)
