"""The likeliest tokens of large vocabularies against `torch.topk`; what is not a number."""

import pytest
import torch

from pipelines.decoding.next_tokens import likeliest_tokens, next_token_scores


@pytest.mark.parametrize("vocab_size", [50, 1281, 2560, 8000, 30522])
@pytest.mark.parametrize("count", [1, 10, 33])
@pytest.mark.parametrize("width", [1, 3])
def test_likeliest_tokens_are_those_of_topk(vocab_size, count, width):
    generator = torch.Generator().manual_seed(count)
    value = torch.randperm(6 * vocab_size, generator=generator).view(6, vocab_size).float()
    value[:, 3] = value[:, vocab_size - 1] = float("-inf")
    value[0, -2:] = torch.tensor([1e6, 2e6])
    before = torch.randint(-vocab_size, 0, (6 // width, width), generator=generator).double() + 0.5
    before[-1, 1:] = float("-inf")
    found = likeliest_tokens(value, before, count)
    total = value.view(-1, width, vocab_size) + before[:, :, None]
    expected = total.flatten(1).topk(count).values
    again = total[torch.arange(6 // width)[:, None], found.row, found.token]
    assert torch.equal(again.sort(dim=1, descending=True).values, expected)
    assert torch.equal(found.log_probability + before.gather(1, found.row), again)
    assert all(
        len(set(zip(*row, strict=True))) == count
        for row in zip(found.row.tolist(), found.token.tolist(), strict=True)
    )


@pytest.mark.parametrize("count", [4, None])
def test_next_tokens_are_log_probabilities_of_any_slice_of_rows(count):
    hidden = torch.randn(300, 8, dtype=torch.double)
    weight = torch.randn(2000, 8, dtype=torch.double)
    before = torch.randn(100, 3, dtype=torch.double)
    expected = (hidden @ weight.T).log_softmax(-1)

    def forbid(log_probability: torch.Tensor, rows: slice) -> None:
        log_probability[:, 7] = float("-inf")
        assert len(log_probability) == rows.stop - rows.start
        assert rows.start % 3 == 0

    scored = next_token_scores(
        lambda part: part @ weight.T, hidden, before, count, together=3, forbid=forbid
    )
    expected[:, 7] = float("-inf")
    listed = expected.view(100, 3, 2000)[torch.arange(100)[:, None], scored.row, scored.token]
    torch.testing.assert_close(scored.log_probability, listed, atol=1e-12, rtol=0)
    if count is None:
        assert torch.equal(scored.row * 2000 + scored.token, torch.arange(6000).expand(100, -1))
    else:
        best = (expected.view(100, 3, 2000) + before[:, :, None]).flatten(1).topk(4)
        places = (scored.row * 2000 + scored.token).sort(dim=1).values
        assert torch.equal(places, best.indices.sort(dim=1).values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("count", [4, None])
def test_logits_that_are_no_numbers_are_an_error(bad, count):
    logits = torch.randn(300, 2000)
    logits[250, 1999] = bad
    with pytest.raises(FloatingPointError, match="some are NaN or infinite"):
        next_token_scores(
            lambda part: part, logits, torch.zeros(300, 1).double(), count, together=1
        )
