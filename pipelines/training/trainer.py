"""Run a training to its last update: set up, resume, and hand back what the last validation measured."""

import logging
import os
import pickle
import re
import warnings
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

from pipelines.allocator import keep_freed_memory
from pipelines.errors import CheckpointError, Preempted
from pipelines.hardware import Hardware
from pipelines.stage import StageRun
from pipelines.training.checkpoints import Checkpoint, Checkpoints, RandomStates
from pipelines.training.loop import TrainingLoop, wanted
from pipelines.training.module import TrainingModule
from pipelines.training.positions import Batches, BatchSource, Position, load_position
from pipelines.training.speed import TimedLoader


def train(module: TrainingModule, source: BatchSource, run: StageRun) -> dict[str, float]:
    """Train ``module`` until its last update, going on from the newest checkpoint of the run folder.

    Returns:
        Validation averages of the network as it is left: after the last update, or of the best validation, or the
        mean of several.

    Args:
        module: network, losses, optimizer.
        source: position → this rank's part of its batch.
        run: the stage at work.

    Raises:
        Preempted: the run was told to stop; a checkpoint of the last finished update is saved.
        CheckFailed: a loss or gradient is not finite.
        CheckpointError: the newest checkpoint is damaged, or of other data.
    """
    torch.set_num_threads(run.hardware.num_threads)
    if not uses_gpu(run.hardware):
        keep_freed_memory()
    checkpoints = Checkpoints(run.folder.checkpoints, run.hardware.keep_checkpoints)
    found = checkpoints.newest()
    position = load_position(source, found.seal["position"], found.path) if found else Position(0, 0, 0)
    if found:
        print(f"going on after update {found.update} from {found.path}", flush=True)
    run.resume_at(position.update)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no tips, no list of absent devices
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning 2.6 under torch 2.13
    batches = Batches(source, position, module.updates)
    loader = TimedLoader(
        DataLoader(batches, batch_size=None, collate_fn=_as_it_is, num_workers=run.hardware.num_workers)
    )
    loop = TrainingLoop(run, checkpoints, source, loader, found)
    trainer = _trainer(module, run, [RandomStates(module.meter), loop])
    done = position.update
    if not loop.finished:
        if run.hardware.compile:
            compile_blocks(module.network)
        try:
            with run.stop.cooperative():
                trainer.fit(module, loader, ckpt_path=found.path if found else None, weights_only=True)
        except pickle.UnpicklingError:
            assert found is not None
            message = (
                "must hold tensors and numbers alone, so it is none of ours and was not loaded; to start again: rm"
            )
            raise CheckpointError(f"{found.path}: {message} {found.path}") from None
        done = trainer.global_step
    run.stop.install()
    if not loop.finished:
        raise Preempted(f"checkpoint saved after update {done}; start again to go on")
    updates = [one["update"] for one in wanted(loop.kept, module.params)]
    if updates == [done] and loop.measured:
        return loop.measured
    return _evaluated(module, [checkpoints.at(update) for update in updates])


def _as_it_is(batch: Any) -> Any:
    """A batch comes whole from its source."""
    return batch


def compile_blocks(network: nn.Module) -> None:
    """Compile the repeated blocks only: the same code serves all of them, and starting stays quick."""
    for name, part in network.named_modules():
        if re.fullmatch(r"(.+\.)?blocks\.\d+", name):
            part.compile()


def _evaluated(module: TrainingModule, checkpoints: list[Checkpoint]) -> dict[str, float]:
    """Validation averages of the mean of some checkpoints' weights, which the network has from now on."""
    mean: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        state = torch.load(checkpoint.path, weights_only=True, map_location=module.device)["state_dict"]
        for name, tensor in state.items():
            mean[name] = mean.get(name, 0) + tensor.double() / len(checkpoints)
    module.load_state_dict(mean)
    print(f"weights of update {', '.join(str(checkpoint.update) for checkpoint in checkpoints)}", flush=True)
    return module.validate()


def rank_and_world_size(hardware: Hardware) -> tuple[int, int]:
    """This process's number and how many there are, before torch.distributed is up.

    Lightning starts ranks with LOCAL_RANK and NODE_RANK set; torchrun sets RANK, SLURM SLURM_PROCID.
    """
    world_size = hardware.devices * hardware.num_nodes
    node, local = int(os.environ.get("NODE_RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    mine = os.environ.get("RANK", os.environ.get("SLURM_PROCID", str(node * hardware.devices + local)))
    return int(mine) if world_size > 1 else 0, world_size


def uses_gpu(hardware: Hardware) -> bool:
    """Whether to compute on CUDA devices; other accelerators lack the float64 sums of the meter."""
    return hardware.accelerator == "gpu" or (hardware.accelerator == "auto" and torch.cuda.is_available())


def _trainer(module: TrainingModule, run: StageRun, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    hardware = run.hardware
    return lightning.Trainer(
        accelerator="gpu" if uses_gpu(hardware) else "cpu",
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=hardware.strategy,
        max_steps=module.updates,
        callbacks=callbacks,
        default_root_dir=run.folder.path,
        deterministic=True,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
