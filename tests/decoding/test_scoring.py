"""The likeliest tokens of large vocabularies against `torch.topk`; what is not a number."""

import pytest
import torch

from pipelines.decoding.scoring import likeliest_tokens, next_tokens


@pytest.mark.parametrize("vocab_size", [50, 1281, 2560, 8000, 30522])
@pytest.mark.parametrize("count", [1, 10, 33])
def test_likeliest_tokens_are_those_of_topk(vocab_size, count):
    value = torch.randperm(7 * vocab_size, generator=torch.Generator().manual_seed(count)).view(7, vocab_size).float()
    value[:, 3] = value[:, vocab_size - 1] = float("-inf")
    value[0, -2:] = torch.tensor([1e9, 2e9])
    found, place = likeliest_tokens(value, count)
    expected = value.topk(count, dim=-1)
    assert torch.equal(found, expected.values)
    assert torch.equal(place, expected.indices)


@pytest.mark.parametrize("count", [4, None])
def test_next_tokens_are_log_probabilities_of_any_slice_of_rows(count):
    hidden, weight = torch.randn(300, 8, dtype=torch.double), torch.randn(2000, 8, dtype=torch.double)
    expected = (hidden @ weight.T).log_softmax(-1)

    def forbid(log_probability: torch.Tensor, rows: slice) -> None:
        log_probability[:, 7] = float("-inf")
        assert len(log_probability) == rows.stop - rows.start
        assert rows.start % 3 == 0

    scored = next_tokens(lambda part: part @ weight.T, hidden, count, together=3, forbid=forbid)
    expected[:, 7] = float("-inf")
    best = expected.topk(4) if count else torch.return_types.topk((expected, torch.arange(2000).expand(300, 2000)))
    torch.testing.assert_close(scored.log_probability[:, 0], best.values, atol=1e-12, rtol=0)
    assert torch.equal(scored.token[:, 0], best.indices)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("count", [4, None])
def test_logits_that_are_no_numbers_are_an_error(bad, count):
    logits = torch.randn(300, 2000)
    logits[250, 1999] = bad
    with pytest.raises(FloatingPointError, match="some are NaN or infinite"):
        next_tokens(lambda part: part, logits, count, together=1)
