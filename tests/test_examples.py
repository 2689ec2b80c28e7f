"""The worked examples in docstrings say what the code does."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "pipelines.bert.data",
    "pipelines.bert.masking",
    "pipelines.bert.packing",
    "pipelines.decoding.selection",
    "pipelines.nn.linear_cross_entropy",
    "pipelines.nn.transformer.cache",
    "pipelines.seq2seq.r_drop",
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_a_module(module):
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
