"""Cases of `tests.gpu` for what is there because of GPUs: the kernel of rows without padding, bf16
between layers, compiled steps that go on exactly.
"""

import signal
from typing import Any

from tests.gpu_project import clean, copy_of_project, digest, interrupt, must


def kernel_of_rows_without_padding(device: str) -> None:
    """Attention within sequences in bf16 against the reference in float32: values, gradients, the
    same bits twice, dropout that is right on average, sequences without keys.
    """
    import torch

    from pipelines.nn.rows import Bounds, Within
    from pipelines.nn.transformer.varlen import attention_within

    sizes = [128, 1, 77, 0, 300, 6]
    ends = torch.tensor([0, *sizes]).cumsum(0).int()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(sum(sizes), 12, 64, generator=generator).to(dtype) for _ in range(4)]

    def run(where: str, kind: Any, *, causal: bool, rate: float = 0.0) -> list[Any]:
        bounds = Bounds(ends.to(where), 512)
        *tensors, gradient = (part.to(where, kind) for part in given)
        leaves = [part.requires_grad_() for part in tensors]
        heads = attention_within(*leaves, Within(bounds, bounds), causal=causal, rate=rate)
        return [heads, *torch.autograd.grad(heads, leaves, gradient)]

    torch.use_deterministic_algorithms(True)
    for causal in (False, True):
        exact = run("cpu", torch.float32, causal=causal)
        found, again = (run(device, dtype, causal=causal) for _ in range(2))
        for ours, repeated, theirs in zip(found, again, exact, strict=True):
            assert torch.equal(ours, repeated)
            apart = (ours.float().cpu() - theirs).abs().max() / theirs.abs().max()
            assert apart < 2e-2, (causal, float(apart))
    exact = run("cpu", torch.float32, causal=False)
    torch.manual_seed(1)
    many, allowed = (100, 0.1) if device == "cuda" else (10, 0.3)
    passes = [run(device, dtype, causal=False, rate=0.1) for _ in range(many)]
    assert not torch.equal(passes[0][0], passes[1][0])
    for number, theirs in enumerate(exact):
        mean = torch.stack([one[number].float() for one in passes]).mean(0).cpu()
        apart = (mean - theirs).norm() / theirs.norm()
        assert apart < allowed, (number, float(apart))
    print("attention within sequences: values, gradients, dropout", flush=True)


def updates_without_padding(device: str) -> None:
    """An update in bf16 without padding, eager and compiled, against the padded one in float32:
    gradients within 3 % of the largest.
    """
    import torch

    from pipelines.bert.data import DocumentSplit, PretrainingBatches
    from pipelines.bert.module import Baselines, BertPretraining
    from pipelines.models.bert import Bert
    from tests.bert.sample import bert_params, two_languages
    from tests.gpu import _apart, _moved
    from tests.training.test_ranks_without_rows import START, _gradients

    for packed in (False, True):
        params = bert_params(segments={"packed": packed}, phases={"batch_size": 16})
        half = params.training.model_copy(update={"precision": "bf16-mixed"})
        source = PretrainingBatches(DocumentSplit(two_languages(), 1, "t", 0.15, 300), params)
        found = []
        for kind in ("padded", "eager", "compiled"):
            torch.manual_seed(0)
            own = params.model_copy(update={"training": half}) if kind != "padded" else params
            network = Bert(params.model, 300)
            module = BertPretraining(network, own, [], Baselines(0.0, 5.0, 5.0, 0.5)).to(device)
            if device == "cuda":
                assert module.unpads() is (kind != "padded")
            else:
                module.unpads = lambda kind=kind: kind != "padded"  # type: ignore[method-assign]
            if kind == "compiled":
                module.compile_step()
            with module.autocast():
                found.append(_gradients(module, _moved(source(START), device), 8))
        plain = {name: gradient.cpu() for name, gradient in found[0][0].items()}
        for gradients, terms, _ in found[1:]:
            assert terms == found[0][1]
            assert (apart := _apart(gradients, plain)) < 3e-2, (packed, apart)


def compiled_training_is_exact_after_kills(device: str) -> None:
    """BERT and a Transformer, compiled, in bf16, with dropout: killed and gone on, the same bytes;
    the second start compiles nothing anew.
    """
    folder = copy_of_project()
    params = folder / "params.yaml"
    text = params.read_text().replace("compile: false", "compile: true")
    text = text.replace("packed: true", "packed: false")  # so that there are few sizes
    params.write_text(text.replace("precision: 32-true", "precision: bf16-mixed"))
    transformer = ("pipelines.seq2seq.finetune", "transformer")
    for stage, out, command in (
        ("bert", "bert", ("pipelines.bert.pretrain",)),
        ("seq2seq@transformer", "seq2seq/transformer", transformer),
    ):
        digests = []
        for kills in ((), ((signal.SIGKILL, 15), (signal.SIGTERM, 20))):
            clean(folder, stage, out)
            for number, update in kills:
                code = interrupt(folder, number, update, *command)
                assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL), code
            must(folder, *command)
            digests.append(digest(folder / "data" / out))
        assert len(set(digests)) == 1, (stage, digests)
        print(stage, "exact", flush=True)
