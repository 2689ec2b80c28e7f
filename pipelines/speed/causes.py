"""Measurements of a few updates → what limits them, in words with figures and remedies."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

_WORTH_SAYING = 0.1  # of the time


@dataclass(frozen=True)
class Measured:
    """A few updates of a training, on one rank.

    Attributes:
        seconds: of an update as the training runs it.
        waited: of them, for the loader.
        alone: of an update on a batch that is at hand, of as many slots, no gradients exchanged.
        queued: of them, until Python had asked for all of it; None on a CPU, which computes
            meanwhile.
        larger: of such an update with twice the micro-batch; None where there is one micro-batch,
            or twice the rows do not fit.
        exchanged: of an update whose ranks exchange gradients; None for one rank.
        tokens, slots: of an update: real tokens, and those with padding.
        computed: slots that are computed: fewer where rows are unpadded.
        flops: useful floating-point operations of an update; 0 where they are not counted.
        could: such operations per second in a large matrix product.
        device: its kind.
        compiled: the step is.
        micro_batch_size: rows.
    """

    seconds: float
    waited: float
    alone: float
    queued: float | None
    larger: float | None
    exchanged: float | None
    tokens: float
    slots: float
    computed: float
    flops: float
    could: float
    device: str
    compiled: bool
    micro_batch_size: int


@dataclass(frozen=True)
class Cause:
    """Something that takes time.

    Attributes:
        name: of what.
        share: of an update's time that could be saved.
        words: the figure in a sentence.
        remedy: what to do about it.
    """

    name: str
    share: float
    words: str
    remedy: str


def causes(measured: Measured) -> list[Cause]:
    """All that take a tenth of the time or more, the greatest first."""
    found = [cause for cause in _candidates(measured) if cause.share >= _WORTH_SAYING]
    return sorted(found, key=lambda cause: -cause.share)


def _candidates(m: Measured) -> Iterator[Cause]:
    yield Cause(
        "loader",
        m.waited / m.seconds,
        f"{m.waited / m.seconds:.0%} of the time the training waits for its next batch",
        "raise hardware.num_workers (processes that make batches)",
    )
    padding = 1 - m.tokens / m.computed
    yield Cause(
        "padding",
        padding * m.alone / m.seconds,
        f"{padding:.0%} of the computed slots hold no token",
        "bert: segments.packed: true; seq2seq: batch_unit: tokens; on a GPU precision: bf16-mixed "
        "leaves padding out",
    )
    if m.larger is not None:
        yield Cause(
            "small micro-batches",
            (m.alone - m.larger) / m.seconds,
            f"with twice the rows at once an update takes {m.larger * 1e3:.1f} ms, not "
            f"{m.alone * 1e3:.1f}",
            f"raise hardware.micro_batch_size ({m.micro_batch_size})",
        )
    if m.exchanged is not None:
        yield Cause(
            "communication",
            (m.exchanged - m.alone) / m.seconds,
            f"ranks exchange gradients for {max(0.0, m.exchanged - m.alone) * 1e3:.1f} ms of an "
            f"update's {m.seconds * 1e3:.1f}",
            "larger batches (more micro-batches an update), or a faster network between machines",
        )
    if m.queued is not None and m.queued > 0.9 * m.alone:
        yield Cause(
            "host",
            m.queued / m.seconds,
            f"asking for an update's work takes Python {m.queued * 1e3:.1f} ms: the GPU waits",
            "hardware.compile: true"
            if not m.compiled
            else "larger batches or micro-batches; a faster processor",
        )
    elif m.device == "cuda":
        yield from _on_a_gpu(m)


def _on_a_gpu(m: Measured) -> Iterator[Cause]:
    if not m.flops:
        return
    products = m.flops / m.could
    between = max(0.0, m.alone - products) / m.seconds
    words = (
        f"matrix products would take {products * 1e3:.1f} ms of an update's {m.seconds * 1e3:.1f}; "
        "the rest reads and writes memory between them"
    )
    if not m.compiled:
        remedy = "hardware.compile: true fuses what stands between products"
    else:
        remedy = "a wider network, bf16-mixed, no dropout; little else is left"
    yield Cause("memory traffic" if m.compiled else "no compiling", between, words, remedy)


def told(name: str, measured: Measured) -> str:
    """All of it as lines for a terminal."""
    m = measured
    lines = [
        f"{name}: {1 / m.seconds:.3g} updates/s, {m.tokens / m.seconds:,.0f} tokens/s, "
        f"{m.seconds * 1e3:.1f} ms an update"
    ]
    if m.flops:
        share = m.flops / m.seconds / m.could
        lines.append(
            f"  {share:.0%} of {m.could / 1e12:.3g} TFLOP/s, the speed of a large matrix product"
        )
    found = causes(m)
    for number, cause in enumerate(found, start=1):
        said = f"  {number}. {cause.name}: {cause.words}"
        lines += [_wrapped(said), _wrapped(f"     {cause.remedy}")]
    if not found:
        lines.append("  nothing stands out: no cause takes a tenth of the time")
    return "\n".join(lines)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 80, subsequent_indent="     ")
