"""No params file ends in a traceback or in pydantic's words, whatever is wrong with it."""

import copy
import random
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.frame.errors import ParamsError
from pipelines.frame.params_reader import ParamsFile, plain, read_params
from pipelines.params.overlay import laid_over
from pipelines.params.recipes import with_recipes
from pipelines.params.rules import problems_of
from tests.conftest import ROOT

MUTATIONS = 6000
WRONG: list[Any] = [None, True, -1, 0, 0.5, 10**12, 2**53, 1e308, "", "x", "nöne", "a\0b", "none"]
WRONG += [[], {}, [1], [[]], [{}], {"name": "x"}, {"kind": "files"}, {"1": 2}, "data/brt", ["a", 1]]
PYDANTIC = re.compile(r"Input should|Value error|valid (dictionary|list|integer)|union|pydantic")
FORM = re.compile(r"^\S+\.yaml:\d+: .+ must .+|^[^:]+: .+ must .+")


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in parts if isinstance(node, dict | list) else ():
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*path, key))


def _misspelt(key: str, draw: random.Random) -> str:
    cut = draw.randrange(len(key))
    return draw.choice([key[:cut] + key[cut + 1 :], key[:cut] + "x" + key[cut:], key.upper(), ""])


def _exchanged(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.values())
    return {str(number): one for number, one in enumerate(value)} if isinstance(value, list) else []


def _mutated(root: dict[str, Any], path: tuple[Any, ...], draw: random.Random, how: int) -> None:
    node: Any = root
    for part in path[:-1]:
        node = node[part]
    key = path[-1]
    match how:
        case 0:
            del node[key]
        case 1 if isinstance(key, str):
            node[_misspelt(key, draw)] = node.pop(key)
        case 2:
            value = node[key]
            size = isinstance(value, int | float) and not isinstance(value, bool)
            node[key] = value * draw.choice([-1, 0, 1000, 10**9, 0.3]) if size else [value] * 9
        case 3:
            node[key] = _exchanged(node[key])
        case _:
            node[key] = copy.deepcopy(draw.choice(WRONG))


@pytest.fixture(scope="module")
def files() -> dict[str, dict[str, Any]]:
    """params.yaml, and params.yaml under each recipe."""
    found = {"params": plain(read_params(ROOT / "params.yaml").root)}
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        found[path.stem] = plain(with_recipes([path], ROOT / "params.yaml").root)
    return found


def test_every_mistake_is_told_in_our_words(files):
    draw = random.Random(1)
    refused, ways = 0, 5
    everywhere = [(name, path) for name, root in files.items() for path in _places(root)]
    draw.shuffle(everywhere)
    chosen = [(*one, how) for one in everywhere for how in range(ways)][:MUTATIONS]
    # Every place of params.yaml itself in every way, and as many of the recipes as there is time.
    chosen += [("params", path, how) for path in _places(files["params"]) for how in range(ways)]
    for name, path, how in chosen:
        root = copy.deepcopy(files[name])
        _mutated(root, path, draw, how)
        problems = problems_of(ParamsFile(Path("params.yaml"), root))  # type: ignore[arg-type]
        refused += bool(problems)
        for line in "\n".join(problems).splitlines():
            assert FORM.match(line), (name, path, how, line)
            assert not PYDANTIC.search(line), (name, path, how, line)
            assert len(line) < 500, (name, path, how, line)
    assert len(chosen) >= 5000
    assert refused > 0.6 * len(chosen)


def test_every_mistake_in_a_recipe_is_told_in_our_words():
    draw = random.Random(2)
    base = read_params(ROOT / "params.yaml")
    place = partial(str.format, "recipes/mine.yaml:{}")
    lay = partial(laid_over, place=lambda keys: place(len(keys)), once_there=lambda keys: False)
    said = 0
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        recipe = plain(read_params(path).root)
        places = list(_places(recipe))
        for number in range(12):
            mutated = copy.deepcopy(recipe)
            _mutated(mutated, draw.choice(places), draw, number % 5)
            try:
                problems = problems_of(lay(base, mutated))
            except ParamsError as error:
                problems = str(error).splitlines()
            said += bool(problems)
            for line in "\n".join(problems).splitlines():
                assert FORM.match(line), line
                assert not PYDANTIC.search(line), line
    assert said > 50
