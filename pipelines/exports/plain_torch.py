"""A recurrent model as a short program of PyTorch alone, for those who do not have this project.

The lines are written for one architecture: they hold its cell, its attention and its bridge, and
nothing else. They translate greedily.
"""

from collections.abc import Iterator

from pipelines.formats.vocabulary.special_tokens import END, START
from pipelines.models.recurrent import Gru, Params

_TEXTBOOK = """\
def net(side, x, h, ways):
    states, h = [], list(h)
    for n in range({layers}):
        outputs = []
        for k in range(ways):
            name, one, made = f"{{side}}.layers.{{n}}.{{k}}.", h[n * ways + k], []
            U, c = w[name + "hidden.weight"], w[name + "hidden.bias"]
            for row in linear(name + "input", x if k == 0 else x.flip(0)):
                D = one.shape[-1]
                r, z = torch.sigmoid(row[:, :2*D] + one @ U[:2*D].T + c[:2*D]).chunk(2, -1)
                new = torch.tanh(row[:, 2*D:] + (r * one) @ U[2*D:].T + c[2*D:])
                one = new + z * (one - new)
                made.append(one)
            outputs.append(torch.stack(made if k == 0 else made[::-1]))
            states.append(one)
        x = torch.cat(outputs, -1)
    return x, torch.stack(states)
"""
_FUSED = """\
def net(side, x, h, ways):  # as {function} takes them: by layer and way, of input and state
    weights = [w[f"{{side}}.layers.{{n}}.{{k}}.{{part}}.{{kind}}"] for n in range({layers})
               for k in range(ways) for kind in ("weight", "bias") for part in ("input", "hidden")]
    x, {returned} = {function}(x, h, weights, True, {layers}, 0.0, False, ways == 2, False)
    return x, h
"""


def lines(params: Params, max_length: int, text: str) -> str:
    """The program: it reads ``model.safetensors`` and ``tokenizer.json`` in the folder it runs in.

    Args:
        params: of the architecture.
        max_length: tokens of a translation, its end among them.
        text: that it translates.
    """
    return "\n".join([*_program(params, max_length), f"print(translate({text!r}))", ""])


def _program(params: Params, max_length: int) -> Iterator[str]:
    yield from ("import torch", "from safetensors.torch import load_file")
    yield from ("from tokenizers import Tokenizer", "")
    yield 'w, tokenizer = load_file("model.safetensors"), Tokenizer.from_file("tokenizer.json")'
    yield 'E, tokenizer.encode_special_tokens = w["embedding.weight"], True'
    yield 'def linear(name, x): return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)'
    yield from _net(params).splitlines()
    yield "@torch.no_grad()"
    yield "def translate(text):"
    yield from (f"    {line}" for line in _translate(params, max_length))


def _net(params: Params) -> str:
    """One function for the layers of both sides: states [L·K, 1, D], of an LSTM two of them."""
    if isinstance(params.cell, Gru) and not params.cell.reset_after:
        return _TEXTBOOK.format(layers=params.num_layers)
    lstm = params.cell.name == "lstm"
    return _FUSED.format(
        layers=params.num_layers,
        function={"rnn": "torch.rnn_tanh", "lstm": "torch.lstm", "gru": "torch.gru"}[
            params.cell.name
        ],
        returned="*h" if lstm else "h",
    )


def _translate(params: Params, max_length: int) -> Iterator[str]:
    ways, D, L = 2 if params.bidirectional else 1, params.width, params.num_layers
    lstm = params.cell.name == "lstm"
    zeros = f"torch.zeros({L * ways}, 1, {D // ways})"
    yield "x = E[tokenizer.encode(text).ids][:, None]  # [CLS] and [SEP] are among them"
    yield f'memory, h = net("encoder", x, {f"({zeros},) * 2" if lstm else zeros}, {ways})'
    last = "h[0]" if lstm else "h"
    yield f"summary = {last}.view({L}, 1, {D})[-1]"
    if params.bridge == "linear":
        first = 'torch.tanh(linear("bridge", summary))'
        yield (
            f"h = [part.view({L}, 1, {D}) for part in {first}.chunk(2, -1)]"
            if lstm
            else f"h = {first}.view({L}, 1, {D})"
        )
    elif params.bridge == "zero":
        empty = f"torch.zeros({L}, 1, {D})"
        yield f"h = [{empty}] * 2" if lstm else f"h = {empty}"
    else:
        yield f"h = [part.view({L}, 1, {D}) for part in h]" if lstm else f"h = h.view({L}, 1, {D})"
    yield from _steps(params, max_length, last)


def _steps(params: Params, max_length: int, last: str) -> Iterator[str]:
    key = 'linear("attention.key", memory)' if params.attention != "dot" else "memory"
    fed = params.attention in ("dot", "general")
    if params.attention != "none":
        yield f"key, out, tokens = {key}, torch.zeros_like(summary), [{START}]"
    else:
        yield f"context, tokens = summary, [{START}]"
    yield f"while tokens[-1] != {END} and len(tokens) <= {max_length}:"
    body = ["y = E[tokens[-1]][None]"]
    look = ["context = (weight[..., None] * memory).sum(0)"]
    if params.attention == "additive":
        body.append(f'seen = torch.tanh(linear("attention.query", {last}[-1]) + key)')
        body += ['weight = (seen @ w["attention.energy.weight"][0]).softmax(0)', *look]
    given = "out" if fed else "context"
    body.append(f'top, h = net("decoder", torch.cat([y, {given}], -1)[None], h, 1)')
    if fed:
        body += ["weight = (key * top).sum(-1).softmax(0)", *look]
    parts = "top[0], context" if fed else "top[0], context, y"
    body.append(f'out = torch.tanh(linear("readout", torch.cat([{parts}], -1)))')
    body.append('tokens.append(int((out @ E.T + w["output_bias"]).argmax()))')
    yield from (f"    {line}" for line in body)
    yield "return tokenizer.decode(tokens)"
