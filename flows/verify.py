"""Everything twice from an empty cache, and the results compared: ``python -m flows.verify``.

Works in two clones of this checkout's last commit, with this checkout's params.yaml, and leaves
nothing behind. What differs is named: file, tensor, key. Exit code 1 if anything does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.experiment import git, take_inputs
from pipelines.frame.errors import CheckFailed, MasklineError
from pipelines.frame.files import MANIFEST, sha256_of
from pipelines.frame.params_reader import plain, read_params


def run_from_nothing(folder: Path) -> None:
    """A clone, and everything computed in it.

    Raises:
        ParamsError: this is no git checkout.
        CheckFailed: a stage failed.
    """
    git("clone", "--quiet", ".", str(folder))
    (folder / "dvc.lock").unlink(missing_ok=True)
    take_inputs(folder)
    if code := subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, check=False
    ).returncode:
        raise CheckFailed(
            f"dvc repro in a fresh clone: exit code ({code}) must be 0; its own message stands "
            "above"
        )


def outs(folder: Path) -> dict[str, str]:
    """Path of each stage's out → its md5 in the checkout's dvc.lock."""
    stages = plain(read_params(folder / "dvc.lock").root)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def differences(one: Path, other: Path) -> Iterator[str]:
    """What differs between two folders of results, file by file."""
    files = {
        path.relative_to(root)
        for root in (one, other)
        for path in root.rglob("*")
        if path.is_file()
    }
    for name in sorted(files):
        first, second = one / name, other / name
        if not first.exists() or not second.exists():
            yield f"{name}: only in {'the second' if second.exists() else 'the first'}"
        elif name.name != MANIFEST and sha256_of(first) != sha256_of(second):
            differing = list(_inside(first, second))
            listed, more = "; ".join(differing[:3]), " …" if len(differing) > 3 else ""
            yield f"{name}: {listed or 'other bytes'}{more}"


def _inside(first: Path, second: Path) -> Iterator[str]:
    if first.suffix == ".safetensors":
        yield from _tensors(first, second)
    elif first.suffix == ".json":
        yield from _keys(
            "",
            json.loads(first.read_text(encoding="utf-8")),
            json.loads(second.read_text(encoding="utf-8")),
        )
    elif first.suffix in {".txt", ".jsonl", ".md", ".html"}:
        pairs = zip(
            first.read_text(encoding="utf-8").splitlines(),
            second.read_text(encoding="utf-8").splitlines(),
            strict=False,
        )
        yield from (
            f"line {number}" for number, (one, other) in enumerate(pairs, 1) if one != other
        )


def _tensors(first: Path, second: Path) -> Iterator[str]:
    from safetensors.torch import load_file

    one, other = load_file(first), load_file(second)
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other or one[name].shape != other[name].shape:
            yield f"tensor {name} is not in both"
        elif not one[name].equal(other[name]):
            yield (
                f"tensor {name} by up to "
                f"{(one[name].double() - other[name].double()).abs().max():.1e}"
            )


def _keys(path: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _keys(f"{path}.{key}" if path else key, one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _keys(f"{path}[{number}]", *pair)
    elif one != other:
        yield f"key {path} ({one!r}, {other!r})"


def main() -> int:
    """Compare two runs of this checkout; 0 if they are equal, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    try:
        return _verify()
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _verify() -> int:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "first"), Path(folder, "second")
        for clone in (one, other):
            run_from_nothing(clone)
        first, second = outs(one), outs(other)
        for name, md5 in first.items():
            if second.get(name) == md5:
                print(f"equal    {name}")
                continue
            print(f"differs  {name}")
            for differing in differences(one / name, other / name):
                print(f"         {differing}")
        recorded = outs(Path()) if Path("dvc.lock").exists() else {}
        as_recorded = sum(recorded.get(name) == md5 for name, md5 in first.items())
        print(f"{as_recorded} of {len(first)} are as dvc.lock of this checkout has them")
        return 0 if first == second else 1


if __name__ == "__main__":
    sys.exit(main())
