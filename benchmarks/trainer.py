"""Lightning's Trainer with ours, Hugging Face's with a peer's, and the clock both are timed by."""

import ctypes
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

WARM = 16  # steps that do not count: memory settles
_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1  # of mallopt(3)


class Clock:
    """Seconds of a training's steps."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def callback(self, lightning: Any) -> Any:
        """For Lightning's Trainer."""
        tick = self.tick

        class Callback(lightning.Callback):  # type: ignore[misc]
            def on_train_batch_end(self, *_: Any) -> None:
                tick()

        return Callback()

    def tick(self) -> None:
        """A step has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Of the steps after the first `WARM`."""
        return [
            after - before
            for before, after in zip(self.times[WARM:], self.times[WARM + 1 :], strict=False)
        ]


class Span:
    """Seconds of a step on a device that computes by itself: of many, between two waits for it,
    after as many that do not count, on the same batches.

    Args:
        steps: that count.

    Attributes:
        total: steps.
        done: all of them were taken.
        seconds: of a step, once they are.
    """

    def __init__(self, steps: int) -> None:
        self._steps, self._taken = steps, 0
        self.total, self.done = 2 * steps, False
        self._clock = self.seconds = 0.0

    def tick(self) -> None:
        """A step has been asked for."""
        self._taken += 1
        self.done = self._taken >= self.total
        if self._taken in (self._steps, self.total):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            before, self._clock = self._clock, time.perf_counter()
            self.seconds = (self._clock - before) / self._steps


@dataclass(frozen=True)
class Setting:
    """How Hugging Face's Trainer runs."""

    bf16: bool
    compiled: bool
    attention: str
    masked_head: bool = False

    def __str__(self) -> str:
        parts = ["bf16" if self.bf16 else "fp32", self.attention, *(["compiled"] * self.compiled)]
        return " ".join([*parts, *(["masked head"] * self.masked_head)])


def their_bert(shape: tuple[int, int], vocab_size: int, attention: str, **dropouts: Any) -> Any:
    """Hugging Face's BERT of some (layers, width)."""
    from transformers import BertConfig, BertForPreTraining

    layers, width = shape
    return BertForPreTraining(
        BertConfig(  # type: ignore[call-arg]
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            attn_implementation=attention,
            **dropouts,
        )
    )


def bert_steps(
    shape: tuple[int, int],
    vocab_size: int,
    examples: list[dict[str, Any]],
    setting: Setting,
    *,
    rows: int,
    steps: int,
) -> list[float]:
    """Seconds of each step of Hugging Face's BERT of some (layers, width) in its Trainer."""
    from transformers import default_data_collator

    model = their_bert(shape, vocab_size, setting.attention)
    if setting.masked_head:
        _cut_head(model)
    return trainer_steps(model, examples, default_data_collator, setting, rows=rows, steps=steps)


def optimization(precision: str) -> dict[str, Any]:
    """What both of our trainings share; nothing is validated, saved or logged."""
    adamw = {
        "name": "adamw",
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "bias_correction": True,
    }
    return {
        "optimizer": {**adamw, "weight_decay": 0.01},
        "schedule": {"name": "linear", "warmup_updates": 100, "final_factor": 0.0},
        "gradient_clip": 1.0,
        "precision": precision,
        "select": "last",
        "average": 1,
        "patience": "none",
        "validate_every": 10**6,
        "log_every": 10**6,
    }


def as_it_is(batch: Any) -> Any:
    """A batch comes whole from its source."""
    return batch


def lightning_steps(module: Any, loader: Any, steps: int, accelerator: str = "cpu") -> list[float]:
    """Seconds of each step of one of our modules in Lightning's Trainer, after `WARM` others."""
    import lightning.pytorch as lightning

    clock = Clock()
    trainer = lightning.Trainer(
        max_steps=WARM + steps,
        accelerator=accelerator,
        callbacks=[clock.callback(lightning)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    return clock.steps()


def trainer_steps(
    model: Any,
    examples: list[Any],
    collator: Any,
    setting: Setting,
    *,
    rows: int,
    steps: int,
    span: Span | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[float]:
    """Seconds of each step of a model in Hugging Face's Trainer, after `WARM` others.

    Args:
        model: returns its loss.
        examples: taken in their order, ``rows`` at a time.
        collator: examples → batch.
        setting: how it runs.
        rows: examples in a step.
        steps: that count.
        span: times them on a GPU instead.
        more: for `transformers.TrainingArguments`.
    """
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    clock = Clock()

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            (span or clock).tick()

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(examples)

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(prefix="maskline-peer-"),  # stays empty: nothing is saved
        max_steps=span.total if span else WARM + steps,
        per_device_train_batch_size=rows,
        learning_rate=1e-4,
        weight_decay=0.01,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        bf16=setting.bf16,
        use_cpu=span is None or not torch.cuda.is_available(),
        torch_compile=setting.compiled,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        **(more or {}),
    )
    InOrder(
        model=model,
        args=arguments,
        train_dataset=examples,
        data_collator=collator,
        callbacks=[Ticks()],
    ).train()
    return [span.seconds] if span else clock.steps()


def _cut_head(model: Any) -> None:
    """Give the output layer of Hugging Face's model the masked positions only, as ours has it."""
    heads, losses = model.cls, torch.nn.functional.cross_entropy

    def forward(
        input_ids: Any,
        token_type_ids: Any,
        attention_mask: Any,
        labels: Any,
        next_sentence_label: Any,
        **_: Any,
    ) -> dict[str, Any]:
        output = model.bert(
            input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
        )
        masked = labels != -100
        scores = heads.predictions(output.last_hidden_state[masked])
        mlm = losses(scores.float(), labels[masked])
        return {
            "loss": mlm
            + losses(heads.seq_relationship(output.pooler_output).float(), next_sentence_label)
        }

    model.forward = forward


def allocator_as_it_comes() -> None:
    """What glibc's thresholds have grown to in a process that frees large tensors: 32 and 64
    MiB.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)
        libc.malloc_trim(0)
