"""What holds for every family: steps equal teacher forcing, neighbours and padding change
nothing.
"""

import pytest
import torch

from benchmarks.seq2seq_peers import give_weights, marian
from pipelines.frame.errors import CheckpointError, ParamsError
from pipelines.models.protocol.files import load, save
from pipelines.models.protocol.model import Belongs
from pipelines.models.protocol.registry import family_module
from tests.models.families import BLOCKS, PLAIN, build

B, S, T = 3, 8, 6
SOURCE = torch.randint(5, 20, (B, S), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([8, 3, 5])
INPUTS = torch.randint(5, 20, (B, T), generator=torch.Generator().manual_seed(2))
ALL = pytest.mark.parametrize("name", BLOCKS)


@ALL
def test_steps_equal_teacher_forcing(name):
    model = build(name)
    expected = model.hidden(SOURCE, LENGTHS, INPUTS)
    state = model.start(SOURCE, LENGTHS)
    for t in range(T):
        hidden, state = model.step_hidden(INPUTS[:, t], state)
        torch.testing.assert_close(hidden, expected[:, t], atol=1e-9, rtol=0)


@ALL
def test_steps_with_hypotheses_changing_places_equal_teacher_forcing(name):
    """Random parents at each step; each row must then continue its own new history."""
    model, W = build(name), 4
    rng = torch.Generator().manual_seed(3)
    state = model.start(SOURCE, LENGTHS)
    history = INPUTS[:, :1]
    _, state = model.step(history[:, 0], state)
    state = model.reorder(state, torch.arange(B).repeat_interleave(W))
    history = history.repeat_interleave(W, dim=0)
    for _ in range(4):
        parents = (
            torch.randint(0, W, (B, W), generator=rng) + W * torch.arange(B)[:, None]
        ).flatten()
        state, history = model.reorder(state, parents), history[parents]
        tokens = torch.randint(5, 20, (B * W,), generator=rng)
        history = torch.cat([history, tokens[:, None]], dim=1)
        hidden, state = model.step_hidden(tokens, state)
    wide = SOURCE.repeat_interleave(W, dim=0), LENGTHS.repeat_interleave(W)
    torch.testing.assert_close(hidden, model.hidden(*wide, history)[:, -1], atol=1e-9, rtol=0)


@ALL
def test_select_keeps_the_chosen_sentences_and_all_their_hypotheses(name):
    model, W = build(name), 2
    state = model.reorder(model.start(SOURCE, LENGTHS), torch.arange(B).repeat_interleave(W))
    tokens = torch.tensor([6, 7, 8, 9, 10, 11])
    expected, _ = model.step(tokens, state)
    kept = model.select(state, torch.tensor([0, 2]), W)
    actual, _ = model.step(tokens[[0, 1, 4, 5]], kept)
    torch.testing.assert_close(actual, expected[[0, 1, 4, 5]], atol=1e-9, rtol=0)


@ALL
def test_padding_and_neighbours_change_nothing(name):
    model = build(name)
    together = model.hidden(SOURCE, LENGTHS, INPUTS)
    for row in range(B):
        alone = model.hidden(
            SOURCE[row : row + 1, : LENGTHS[row]], LENGTHS[row : row + 1], INPUTS[row : row + 1]
        )
        torch.testing.assert_close(together[row], alone[0], atol=1e-9, rtol=0)


@ALL
def test_future_targets_change_nothing(name):
    model = build(name)
    changed = INPUTS.clone()
    changed[:, 3:] = 19
    before, after = model.hidden(SOURCE, LENGTHS, INPUTS), model.hidden(SOURCE, LENGTHS, changed)
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=1e-12, rtol=0)
    assert (before[:, 3:] - after[:, 3:]).abs().max() > 1e-3


@ALL
def test_every_parameter_gets_a_gradient(name):
    model = build(name)
    model.logits(model.hidden(SOURCE, LENGTHS, INPUTS)).log_softmax(-1)[..., 7].sum().backward()
    without = {
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
    }
    # the second segment's embedding: a sentence alone is all first segment
    if name.startswith("rnd"):
        for stack in ("encoder", "decoder"):
            assert getattr(model, stack).embeddings.segment.weight.grad[0].abs().max() > 0
    # A key's bias adds the same to every score of a query, so softmax takes it away again.
    assert not {n for n in without if not n.endswith("key.bias")}


@ALL
def test_save_and_load_give_the_same_model(name, tmp_path):
    import json

    from pipelines.models.protocol.registry import schema_of

    model = build(name, double=False)
    block = {
        **BLOCKS[name],
        "starts_from": "data/shards",
        "dropout": 0.0,
        "learning_rate": 0.01,
        **PLAIN,
    }
    save(model, schema_of(block["family"])(**block), 20, tmp_path)
    again = load(tmp_path)
    torch.testing.assert_close(
        again.hidden(SOURCE, LENGTHS, INPUTS), model.hidden(SOURCE, LENGTHS, INPUTS), atol=0, rtol=0
    )
    assert json.loads((tmp_path / "model.json").read_text())["vocab_size"] == 20
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    assert sum(p is again.output.weight for p in again.parameters()) == 1  # still tied


def test_load_damaged_weights_is_a_checkpoint_error(tmp_path):
    test_save_and_load_give_the_same_model("gru", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="run dvc repro seq2seq@"):
        load(tmp_path)


def test_reorder_undeclared_state_is_refused():
    model = build("gru")
    with pytest.raises(AssertionError, match="surprise is not declared"):
        model.reorder({"surprise": torch.zeros(2)}, torch.tensor([0, 1]))


def test_belongs_step_state_is_left_alone():
    model = build("gru")
    model.belongs = lambda: {"clock": Belongs.STEP}
    state = {"clock": torch.tensor(3)}
    assert model.reorder(state, torch.tensor([0, 0]))["clock"] == 3
    assert model.select(state, torch.tensor([0]), 2)["clock"] == 3


def test_family_module_unknown_family_is_refused():
    with pytest.raises(ParamsError, match="must be one of bert2bert, recurrent, transformer"):
        family_module("convolutional")


def test_transformer_equals_marian():
    """`transformers.MarianMTModel`, post-norm, with our weights, positions and LayerNorm ε."""
    ours = build("transformer_post", tied="all", num_decoder_layers=2, max_positions=128)
    theirs = (
        marian(20, layers=2, width=16, feed_forward_width=24, heads=2, attention="eager")
        .eval()
        .double()
    )
    give_weights(ours, theirs)
    mask = (torch.arange(S) < LENGTHS[:, None]).long()
    expected = theirs(input_ids=SOURCE, attention_mask=mask, decoder_input_ids=INPUTS).logits
    torch.testing.assert_close(
        ours.logits(ours.hidden(SOURCE, LENGTHS, INPUTS)), expected, atol=1e-9, rtol=0
    )
