"""A dataset of a hub into ``corpus.raw``: ``python -m pipelines.corpus.fetch NAME --to FOLDER``.

The only part of the corpus that opens a socket, and only when it is called: the stage reads the
files that it wrote. Rows are streamed, so a dataset larger than the disk can be cut to size; code
that comes with a dataset is never run. Beside the rows stands ``fetched.json``: name, revision,
columns, number of rows, and the SHA-256 of their file.
"""

import argparse
import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.frame.errors import DataError, ParamsError, broken_rule, exit_code
from pipelines.frame.files import digest, sha256_of, sync_tree, write_json
from pipelines.frame.params_problems import nearest

RAW = Path("data/raw")
ROWS_FILE, ORIGIN_FILE = "rows.jsonl.gz", "fetched.json"


def fetch(
    name: str,
    to: Path,
    *,
    config: str | None,
    split: str,
    columns: Sequence[str],
    revision: str | None,
    rows: int | None,
) -> dict[str, Any]:
    """Write a dataset's text columns to ``<to>/rows.jsonl.gz``.

    Args:
        name: ``owner/name`` on the hub, or a folder with files of a dataset.
        to: a new folder below data/raw.
        config: which of the dataset's configurations; None if it has one.
        split: its split.
        columns: to keep; dots lead into records: ``translation.en``.
        revision: a commit, branch or tag; None takes the newest. What it is now is written down.
        rows: at most; None takes all.

    Returns:
        What ``fetched.json`` says.

    Raises:
        ParamsError: the folder is not below data/raw, or is there already.
        DataError: there is no such dataset, configuration, split or column; a value is no text; the
            connection breaks. Nothing is left behind.
    """
    _check_folder(to)
    commit = _revision(name, revision)
    part = to.with_name(f".{to.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        found = _streamed(name, config, split, commit)
        count = _write(islice(found, rows), columns, part / ROWS_FILE, name)
        origin = {
            "name": name,
            "config": config,
            "split": split,
            "revision": commit,
            "columns": list(columns),
            "rows": count,
            "sha256": sha256_of(part / ROWS_FILE),
        }
        write_json(part / ORIGIN_FILE, origin)
        sync_tree(part)
        part.rename(to)
    except OSError as error:
        raise DataError(f"{to}: cannot be written ({error}); make room, and start again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return origin


def _check_folder(to: Path) -> None:
    if to.parts[:2] != RAW.parts or len(to.parts) < 3 or ".." in to.parts:
        rule = "be a folder below data/raw"
        raise ParamsError(broken_rule("corpus.fetch", "--to", str(to), rule, "correct it"))
    if to.exists():
        remedy = "choose another, or remove it"
        raise ParamsError(broken_rule("corpus.fetch", "--to", str(to), "not be there yet", remedy))


def _revision(name: str, revision: str | None) -> str:
    """The commit a revision is now; of a folder, a digest of its files."""
    if Path(name).is_dir():
        files = sorted(path for path in Path(name).rglob("*") if path.is_file())
        return digest({path.relative_to(name).as_posix(): sha256_of(path) for path in files})
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(name, revision=revision).sha)
    except Exception as error:
        raise _unreachable(name, error) from None


def _unreachable(name: str, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(
        f"{name}: cannot be fetched ({said}); look at its name, --config, --split and --revision, "
        "and at the network (HF_HUB_OFFLINE must not be set)"
    )


def _streamed(name: str, config: str | None, split: str, revision: str) -> Iterator[dict[str, Any]]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    local = Path(name).is_dir()
    try:
        rows = datasets.load_dataset(
            name, config, split=split, revision=None if local else revision, streaming=True
        )
        yield from rows
    except Exception as error:
        raise _unreachable(name, error) from None


def _write(rows: Iterable[dict[str, Any]], columns: Sequence[str], path: Path, name: str) -> int:
    count = 0
    # Neither name nor time in the archive: the same rows give the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
        for row in rows:
            count += 1
            kept = {column: _text(row, column, f"{name}: row {count}") for column in columns}
            file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
            if count % 100_000 == 0:
                print(f"{count:,} rows", file=sys.stderr, flush=True)
    if not count:
        raise DataError(f"{name}: must have rows, but has none; choose another split")
    return count


def _text(row: dict[str, Any], column: str, where: str) -> str | None:
    value: Any = row
    for part in [column] if column in row else column.split("."):
        if not isinstance(value, dict) or part not in value:
            raise DataError(
                f"{where}: column {column!r} must be there, but there are {', '.join(row)}; "
                f"--columns: {nearest(column, list(row), 'correct it')}"
            )
        value = value[part]
    if value is not None and not isinstance(value, str):
        raise DataError(
            f"{where}: {column} ({str(value)[:40]}) must be text, not {type(value).__name__}; name "
            "another column"
        )
    return value


def main() -> int:
    """Fetch what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.corpus.fetch",
        description="A dataset of a hub into corpus.raw; no code of it is ever run.",
    )
    parser.add_argument("name", metavar="NAME", help="owner/name on the hub, or a folder")
    parser.add_argument("--to", required=True, type=Path, help="a new folder below data/raw")
    parser.add_argument("--config", help="a configuration: 20231101.is")
    parser.add_argument("--split", default="train", help="(train)")
    parser.add_argument("--columns", nargs="+", required=True, help="text; translation.en too")
    parser.add_argument("--revision", help="a commit, branch or tag (the newest)")
    parser.add_argument("--rows", type=int, help="at most (all)")
    given = parser.parse_args()
    origin = fetch(
        given.name,
        given.to,
        config=given.config,
        split=given.split,
        columns=given.columns,
        revision=given.revision,
        rows=given.rows,
    )
    fields = ", ".join(f"LANGUAGE: {column}" for column in origin["columns"][:2])
    print(
        f"{origin['rows']:,} rows of {origin['name']} at {origin['revision'][:12]} in {given.to}\n"
        f"in params.yaml, under corpus.reader.sources, with corpus.raw: {given.to}\n"
        f"{given.to.name}: {{kind: table, files: [{ROWS_FILE}], fields: {{{fields}}}, sentences: "
        "split_lines, split: drawn, weight: 1.0}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
