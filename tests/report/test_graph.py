"""The graph of stages: what reads what, in rows, in words."""

import re

import pytest

from pipelines.report.graph import Locked, drawn, edges, stages_table


def _stage(
    name: str, *reads: str, seconds: float | None = 1.0, joules: float | None = None
) -> Locked:
    out = "data/" + name.replace("@", "/")
    return Locked(name, out, "0123456789ab", 1.0, seconds, joules, reads)


@pytest.fixture
def stages() -> list[Locked]:
    """As in dvc.lock: evaluation reads the folder of all decodings, gru2 is not gru's."""
    return [
        _stage("corpus", "data/raw/x", "pipelines/corpus"),
        _stage("seq2seq@gru", "data/corpus", seconds=None),
        _stage("seq2seq@gru2", "data/corpus/pairs.train.en.txt", "data/corpus"),
        _stage("decoding@gru", "data/seq2seq/gru", "data/corpus", seconds=1234.4),
        _stage("evaluation", "data/decoding", "data/corpus"),
        _stage("a<b>&c", "data/corpus"),
    ]


def test_an_edge_is_what_is_read_and_not_what_comes_with_it(stages):
    assert set(edges(stages).edges) == {
        ("corpus", "seq2seq@gru"),
        ("corpus", "seq2seq@gru2"),
        ("seq2seq@gru", "decoding@gru"),
        ("decoding@gru", "evaluation"),
        ("corpus", "a<b>&c"),
    }


def test_boxes_stand_below_what_they_read_and_apart(stages):
    svg = str(drawn(stages))
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="(\d+)" height="(\d+)"', svg)
    places = [tuple(map(float, box)) for box in boxes]
    assert len(places) == len(stages)
    for one in range(len(places)):
        for other in range(one):
            (x, y, width, height), (left, top, *_) = places[one], places[other]
            assert abs(x - left) >= width or abs(y - top) >= height
    # Boxes are drawn row by row; each edge runs downwards.
    lines = re.findall(r'<path d="M[\d.]+ ([\d.]+)C.*? [\d.]+ ([\d.]+)"', svg)
    assert len(lines) == len(edges(stages).edges)
    assert all(float(start) < float(end) for start, end in lines)
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    assert all(x + w <= width and y + h <= height for x, y, w, h in places)
    assert svg.count("stroke-dasharray") == 1
    assert "a&lt;b&gt;&amp;c" in svg
    assert "evaluation reads decoding@gru" in svg
    assert not drawn([])


def test_the_table_says_what_ran_here(stages):
    rows = {name: seconds for name, _, _, seconds in stages_table(stages)[1:]}
    assert (rows["decoding@gru"], rows["seq2seq@gru"]) == ("1,234", "–")


def test_energy_stands_there_where_it_was_measured():
    rows = stages_table([_stage("a", joules=7200.0), _stage("b")])
    assert rows[0][-1] == "Wh here"
    assert [row[-1] for row in rows[1:]] == ["2.00", "–"]
