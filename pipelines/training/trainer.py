"""Run a training to its last update: set up, resume,
and hand back what the last validation measured.
"""

import contextlib
import logging
import pickle
import re
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from pipelines.frame.errors import CheckpointError, PeerLost, Preempted
from pipelines.frame.hardware import Hardware, cpu_name, loader_processes
from pipelines.frame.memory import keep_freed_memory
from pipelines.frame.processes import die_with_parent
from pipelines.frame.ranks import launch, process_rank
from pipelines.frame.records import Records
from pipelines.frame.stage import StageRun
from pipelines.training.checkpoints import Checkpoint, Checkpoints, MeterStates
from pipelines.training.positions import Batches, BatchSource, Position, load_position
from pipelines.training.selection import wanted
from pipelines.training.snapshots import FOLDER, keep_snapshots
from pipelines.training.update import TrainingLoop, TrainingModule
from pipelines.watch.learning import Learning
from pipelines.watch.speed import TimedLoader
from pipelines.watch.training import Watch

# What gloo and NCCL say of a rank that is gone.
_LOST = re.compile(r"Connection (closed|reset) by peer|ncclRemoteError|remote process exited")


def train(module: TrainingModule, source: BatchSource, run: StageRun) -> dict[str, float]:
    """Train ``module`` until its last update,
    going on from the newest checkpoint of the run folder.

    Returns:
        Validation averages of the network as it is left: after the last update, or of the best
            validation, or the
        mean of several.

    Args:
        module: network, losses, optimizer.
        source: position → this rank's part of its batch.
        run: the stage at work.

    Raises:
        Preempted: the run was told to stop; a checkpoint of the last finished update is saved.
        CheckFailed: a loss or gradient is not finite.
        CheckpointError: the newest checkpoint is damaged, or of other data.
        PeerLost: another rank is gone; the last checkpoint is kept.
    """
    if run.trial is not None:
        run.trial(module, source, run)
    torch.set_num_threads(run.hardware.num_threads)
    # Nothing here reads memory before it is written; filling it takes a twentieth of a GPU's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if not uses_gpu(run.hardware):
        keep_freed_memory()
    checkpoints = Checkpoints(run.folder.checkpoints, run.hardware.keep_checkpoints)
    found = checkpoints.newest()
    position = (
        load_position(source, found.seal["position"], found.path) if found else Position(0, 0, 0)
    )
    if found:
        _tell(f"going on after update {found.update} from {found.path}")
    run.resume_at(position.update)
    # Neither tips nor lists of devices and ranks.
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Lightning 2.6 under torch 2.13
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    loader = make_loader(Batches(source, position, module.updates), run.hardware)
    machine = _machine(run.hardware)
    if found and found.seal["machine"] != machine:
        seen = found.seal["machine"]
        _tell(f"it was computed on {seen}, goes on on {machine}: last bits may differ")
    watch = Watch(loader, position.update, module.updates)
    loop = TrainingLoop(run, checkpoints, source, watch, found, machine)
    module.learning = _learning(module, run, position.update, watch)
    trainer = make_trainer(run, [MeterStates(module.meter), loop], module.updates)
    done = position.update
    if not loop.finished:
        with run.stop.cooperative(), _with_peers():
            _fit(trainer, module, loader, found)
        done = trainer.global_step
    run.stop.install()
    module.to(trainer.strategy.root_device)  # Lightning leaves the weights on the CPU
    if not loop.finished:
        raise Preempted(f"checkpoint saved after update {done}; start again to go on")
    if process_rank() == 0:
        keep_snapshots(run.folder.checkpoints / FOLDER, run.work)
    updates = [one["update"] for one in wanted(loop.validations, module.params)]
    if updates == [done] and loop.measured:
        return loop.measured
    with _with_peers():
        return _evaluated(module, [checkpoints.at(update) for update in updates])


def _learning(module: TrainingModule, run: StageRun, done: int, watch: Watch) -> Learning | None:
    """What watches it learn: on the first rank, unless it is off."""
    mode = run.hardware.watch
    if process_rank() > 0 or mode == "off":
        return None
    return Learning(
        Records(run.folder.path / "learning.jsonl"),
        mode,
        done,
        watch.warn,
        adaptive=module.params.optimizer.name not in ("sgd", "momentum", "nesterov"),
    )


def _tell(message: str) -> None:
    """Say it once, for all ranks."""
    if process_rank() == 0:
        print(message, flush=True)


def make_loader(batches: Batches, hardware: Hardware) -> TimedLoader:
    """Batches by so many processes, for a GPU in memory it can read by itself."""
    return TimedLoader(
        DataLoader(
            batches,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=loader_processes(hardware, on_gpu=uses_gpu(hardware)),
            pin_memory=uses_gpu(hardware),
            worker_init_fn=_leave_signals_to_the_parent,
        )
    )


def _fit(
    trainer: lightning.Trainer,
    module: TrainingModule,
    loader: TimedLoader,
    found: Checkpoint | None,
) -> None:
    """Lightning's loop over all updates, from a checkpoint if there is one.

    Raises:
        CheckpointError: the checkpoint holds more than tensors and numbers.
    """
    try:
        trainer.fit(module, loader, ckpt_path=found.path if found else None, weights_only=True)
    except pickle.UnpicklingError:
        assert found is not None
        rule = "must hold tensors and numbers alone, so it is none of ours and was not loaded"
        raise CheckpointError(f"{found.path}: {rule}; to start again: rm {found.path}") from None


@contextlib.contextmanager
def _with_peers() -> Iterator[None]:
    """A block in which all ranks have to stay.

    Raises:
        PeerLost: another one is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if not (told := _LOST.search(str(error))):
            raise
        remedy = "its last checkpoint is kept; start again to go on"
        raise PeerLost(f"training: all its processes must stay ({told[0]}); {remedy}") from None


def _leave_signals_to_the_parent(worker: int) -> None:
    """A loader process ends with its parent, never before it:
    a signal to the whole group is the parent's to answer.

    Otherwise the trainer would lose its loader in the middle of an update instead of saving.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(signal.SIGKILL)


def _machine(hardware: Hardware) -> str:
    """What computes, as far as bits depend on it: number and kind of devices."""
    kind = torch.cuda.get_device_name() if uses_gpu(hardware) else cpu_name()
    return f"{hardware.devices * hardware.num_nodes} x {kind}"


def _as_it_is(batch: Any) -> Any:
    """A batch comes whole from its source."""
    return batch


def _evaluated(module: TrainingModule, checkpoints: list[Checkpoint]) -> dict[str, float]:
    """Validation averages of the mean of some checkpoints' weights,
    which the network has from now on.
    """
    mean: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        state = torch.load(checkpoint.path, weights_only=True, map_location=module.device)[
            "state_dict"
        ]
        for name, tensor in state.items():
            mean[name] = mean.get(name, 0) + tensor.double() / len(checkpoints)
    module.load_state_dict(mean)
    _tell(f"weights of update {', '.join(str(checkpoint.update) for checkpoint in checkpoints)}")
    return module.validate()


def uses_gpu(hardware: Hardware) -> bool:
    """Whether to compute on CUDA devices; other accelerators lack the float64 sums of the meter."""
    return hardware.accelerator == "gpu" or (
        hardware.accelerator == "auto" and torch.cuda.is_available()
    )


def make_trainer(
    run: StageRun, callbacks: list[lightning.Callback], updates: int
) -> lightning.Trainer:
    """Lightning's Trainer for this hardware, with nothing of its own but the loop over updates."""
    hardware = run.hardware
    environments = {"torchrun": TorchElasticEnvironment, "lightning": LightningEnvironment}
    several = hardware.devices * hardware.num_nodes > 1
    by = launch().by if several else "lightning"
    environment = SLURMEnvironment(auto_requeue=False) if by == "slurm" else environments[by]()
    return lightning.Trainer(
        plugins=[environment],  # one answer to the question which rank this is
        accelerator="gpu" if uses_gpu(hardware) else "cpu",
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=DDPStrategy(broadcast_buffers=False) if several else hardware.strategy,
        max_steps=updates,
        callbacks=callbacks,
        default_root_dir=run.folder.path,
        deterministic=hardware.deterministic,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
