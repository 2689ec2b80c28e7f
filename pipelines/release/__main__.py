"""Releases: ``python -m pipelines.release NAME`` makes one of the outs of this checkout.

    python -m pipelines.release first --key private.pem     releases/first
    python -m pipelines.release push releases/first s3://bucket/models
    python -m pipelines.release list s3://bucket/models
    python -m pipelines.release pull s3://bucket/models --to served --key public.pem
    python -m pipelines.release verify served/first --key public.pem
    python -m pipelines.release rollback s3://bucket/models
    python -m pipelines.release remove s3://bucket/models first

docs/release.md tells more.
"""

import argparse
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.exports.quantization import QUANTIZATIONS
from pipelines.frame.errors import CheckFailed, DataError, ParamsError, broken_rule, exit_code
from pipelines.frame.patience import patiently
from pipelines.frame.processes import exclusive
from pipelines.frame.run_folder import FLOW_LOCK, RUNS
from pipelines.release.checking import checked_name, require_named, verify
from pipelines.release.places import Place

RELEASES = Path("releases")
_PATIENCE_S = 600.0


def _make(options: argparse.Namespace) -> None:
    name = checked_name(options.name)
    if name in _COMMANDS:
        rule = f"be no command ({', '.join(_COMMANDS)})"
        raise ParamsError(broken_rule("release", "name", name, rule, "rename it"))
    folder, archive = options.out / name, options.out / f"{name}.tar.gz"
    if options.archive and archive.exists():
        rule, remedy = "not be there yet", "give another name, or remove it"
        raise DataError(broken_rule("release", "archive", str(archive), rule, remedy))
    from pipelines.release.build import build  # torch, which a rollback has no need of

    # No run may change outs meanwhile.
    with exclusive(RUNS / "release.lock"), exclusive(FLOW_LOCK, patience_s=0):
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            made = build(name, folder, options.only, options.ctranslate2, options.key)
        except ModuleNotFoundError as error:
            told = f"{error.name}: must be installed; pip install -e '.[release,export]'"
            raise DataError(told) from None
        except OSError as error:
            told = f"{folder}: must be written, but {error}; mend that, nothing was made"
            raise DataError(told) from None
    signed = "signed" if options.key else "not signed (--key)"
    print(f"{folder}: {', '.join(made)}; {signed}")
    if options.archive:
        packed = shutil.make_archive(f"{folder}.partial", "gztar", options.out, name)
        Path(packed).replace(archive)
        print(f"{archive}: the same, packed")


def _push(options: argparse.Namespace) -> None:
    folder, brought = options.folder.resolve(), set()
    verify(folder, None)
    require_named(folder, folder.name)

    def bring() -> None:
        place = Place(options.place)  # credentials and certificates are read anew
        for file in place.push(folder):
            brought.add(file)
        place.point(folder.name)

    patiently(bring, f"pushing {folder.name} to {options.place}", options.patience)
    print(f"{options.place}: {folder.name} is the current one; {len(brought)} files were brought")


def _pull(options: argparse.Namespace) -> None:
    what = f"pulling from {options.place}"

    def fetch() -> Path:
        place = Place(options.place)
        name = checked_name(options.name) if options.name else place.current()
        if name is None:
            rule, remedy = "have a current release, or one must be named", "list shows those there"
            raise DataError(broken_rule("release", "place", options.place, rule, remedy))
        target: Path = options.to / name
        if target.exists():
            return target
        work = options.to / f".{name}.partial"
        work.mkdir(parents=True, exist_ok=True)
        place.pull(name, work)
        try:
            verify(work, options.key)  # before it has its name
            require_named(work, name)
        except CheckFailed as error:
            shutil.rmtree(work)
            told = str(error).replace(str(work), f"{options.place}/{name}")
            raise CheckFailed(told) from None
        work.rename(target)
        return target

    target = patiently(fetch, what, options.patience)
    print(f"{target}: {verify(target, options.key)}")


def _verify(options: argparse.Namespace) -> None:
    if not options.folder.is_file():
        print(f"{options.folder}: {verify(options.folder, options.key)}")
        return
    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(options.folder) as archive:
                archive.extractall(folder, filter="data")
            (inner,) = Path(folder).iterdir()
        except (tarfile.TarError, OSError, ValueError) as error:
            rule = f"be a release's folder or archive ({error})"
            raise DataError(
                broken_rule("release", "archive", str(options.folder), rule, "fetch it again")
            ) from None
        print(f"{options.folder}: {verify(inner, options.key)}")


def _list(options: argparse.Namespace) -> None:
    kept = patiently(lambda: Place(options.place).kept(), f"listing {options.place}", 0)
    for one in kept:
        mark = "*" if one.current else " "
        print(f"{mark} {one.name:<24}{one.made:<28}{', '.join(one.models)}")
    print("* the current one" if kept else f"{options.place}: no release")


def _rollback(options: argparse.Namespace) -> None:
    def turn() -> str:
        place = Place(options.place)
        if options.name:
            place.point(options.name)
            return str(options.name)
        return place.roll_back()

    name = patiently(turn, f"rolling {options.place} back", 0)
    print(f"{options.place}: {name} is the current one; what has another loaded keeps it")


def _remove(options: argparse.Namespace) -> None:
    what = f"removing {options.name} from {options.place}"
    patiently(lambda: Place(options.place).remove(options.name), what, 0)
    print(f"{options.place}: {options.name} is removed; what has it loaded keeps it")


_HELP = {
    "make": "the word may be left out",
    "push": "bring a release to a place, and make it the current one",
    "pull": "fetch one; nothing has its name before it is verified",
    "verify": "refuse one of which a file was changed, renamed, added or lost",
    "list": "those in a place, the newest first",
    "rollback": "make the one that was in use before the current one, or the one named",
    "remove": "take one away that is not in use, or what a push that was cut off has left",
}
_COMMANDS = {
    "push": _push, "pull": _pull, "verify": _verify, "list": _list, "rollback": _rollback,
    "remove": _remove,
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="NAME | COMMAND")
    found = {}
    for name, act in (("make", _make), *_COMMANDS.items()):
        found[name] = commands.add_parser(name, help=_HELP[name])
        found[name].set_defaults(act=act)
    make = found["make"]
    make.add_argument("name")
    make.add_argument("--out", type=Path, default=RELEASES, help="folder of releases")
    make.add_argument("--only", nargs="+", default=[], metavar="MODEL", help="these alone")
    make.add_argument(
        "--ctranslate2", nargs="+", default=[], choices=QUANTIZATIONS, help="export Transformers"
    )
    make.add_argument("--archive", action="store_true", help="a .tar.gz beside the folder")
    found["push"].add_argument("folder", type=Path)
    found["verify"].add_argument("folder", type=Path)
    for name in ("push", "pull", "list", "rollback", "remove"):
        found[name].add_argument("place", help="a folder, or s3://bucket/prefix")
    for name in ("pull", "rollback"):
        found[name].add_argument("name", nargs="?", help="of a release; the current or earlier one")
    found["remove"].add_argument("name", help="of a release")
    found["pull"].add_argument("--to", type=Path, required=True, help="folder of releases")
    for name, whose in (("make", "private"), ("pull", "public"), ("verify", "public")):
        found[name].add_argument("--key", type=Path, help=f"{whose} key, in PEM")
    for name in ("push", "pull"):
        found[name].add_argument(
            "--patience", type=float, default=_PATIENCE_S, help="seconds to try for"
        )
    return parser


def main(given: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    words = list(sys.argv[1:] if given is None else given)
    if words and not words[0].startswith("-") and words[0] not in (*_COMMANDS, "make"):
        words.insert(0, "make")  # a name alone
    options = _parser().parse_args(words)
    options.act(options)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
