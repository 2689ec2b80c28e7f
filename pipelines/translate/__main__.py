"""Translate lines of standard input, or what is typed:
``python -m pipelines.translate --arch transformer``.

One line in, one line out; blank lines stay in their places. It searches as ``decoding`` in
params.yaml says, apart from what the command line changes. What is wrong with a line is said on
standard error with its number; a line that cannot be translated becomes an empty one, the others go
on, and the exit code is 2.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.decoding.params import DecodingParams
from pipelines.frame.errors import EXIT_BAD_INPUT, DataError, MasklineError, broken_rule
from pipelines.frame.hardware import Hardware, limit_threads
from pipelines.frame.params_reader import ParamsFile, read_params, validate
from pipelines.release.checking import verify

if TYPE_CHECKING:
    from pipelines.translate.session import Line, Session, Translation

MODELS, TOKENIZER = Path("data/seq2seq"), Path("data/tokenizer")
_AT_ONCE = 256  # lines of a pipe


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 if some input was bad."""
    options = _parser().parse_args(arguments)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # as the input is
    try:
        return _translate(options)
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.translate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arch", required=True, help="name of an architecture or ensemble")
    parser.add_argument(
        "--release", type=Path, metavar="FOLDER", help="one of a release, verified before"
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="public key of who signed the release"
    )
    parser.add_argument("--beam", type=int, help="beam size")
    parser.add_argument("--best", type=int, help="hypotheses shown for each line, with scores")
    parser.add_argument(
        "--json", action="store_true", help="a line of JSON each, with token log-probabilities"
    )
    parser.add_argument("--tree", action="store_true", help="show the beam as a tree")
    parser.add_argument(
        "--attention", action="store_true", help="show attention to the source as a heat map"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="both, of the last line, as a .png or .html file",
    )
    parser.add_argument(
        "--begin", metavar="TEXT", default="", help="what each translation begins with"
    )
    parser.add_argument(
        "--with",
        dest="phrases",
        metavar="TEXT",
        action="append",
        default=[],
        help="what each contains",
    )
    parser.add_argument(
        "--too-long", choices=["cut", "refuse"], default="cut", help="lines the model cannot take"
    )
    return parser


def _translate(options: argparse.Namespace) -> int:
    if options.picture and options.picture.suffix not in (".png", ".html"):
        raise DataError(
            broken_rule(
                "command line",
                "--picture",
                str(options.picture),
                "end in .png or .html",
                "rename it",
            )
        )
    if options.key and not options.release:
        rule = "come with --release, whose signature it is to verify"
        raise DataError(broken_rule("command line", "--key", str(options.key), rule, "name it"))
    if options.release:
        options.release = options.release.resolve()  # a place may turn to another one meanwhile
        told = verify(options.release, options.key)
        if options.key is None:
            print(f"warning: {options.release}: {told}", file=sys.stderr)
    session = _session(options)
    bad, first = 0, 1
    shows = bool(options.tree or options.attention or options.picture)
    for raw in _blocks(sys.stdin.buffer):
        lines = [session.read(line, cut=options.too_long == "cut") for line in raw]
        for number, line in enumerate(lines, start=first):
            for problem in line.problems:
                print(f"line {number}: {problem}", file=sys.stderr)
        for line, translated in zip(
            lines, session.translate(lines, first=first, traced=shows), strict=True
        ):
            print("\n".join(_shown(line, translated, session, options)))
        sys.stdout.flush()
        bad += sum(line.ids is None for line in lines)
        first += len(lines)
    return EXIT_BAD_INPUT if bad else 0


def _session(options: argparse.Namespace) -> "Session":
    """What was asked for, loaded.

    Raises:
        DataError, ParamsError: a value breaks a rule.
        CheckpointError: a model cannot be read.
    """
    params_file = read_params((options.release or Path()) / "params.yaml")
    names, params = _names(params_file, options.arch), _decoding(params_file, options)
    hardware = validate(params_file, "hardware", Hardware)
    limit_threads(hardware.num_threads)
    from pipelines.models.protocol.files import load
    from pipelines.release.loading import load_verified
    from pipelines.translate.session import Session

    folder: Path | None = options.release
    return Session(
        [load_verified(folder, name) if folder else load(MODELS / name) for name in names],
        folder / names[0] if folder else TOKENIZER,
        params,
        hardware,
        begin=options.begin,
        phrases=options.phrases,
    )


def _names(params_file: ParamsFile, arch: str) -> list[str]:
    """The models that are searched together: one, or the members of an ensemble.

    Raises:
        DataError: there is none of that name.
    """
    architectures = params_file.get("seq2seq.architectures")
    ensembles = params_file.get("ensembles")
    if arch in ensembles:
        return list(map(str, ensembles[arch]["members"]))
    if arch not in architectures:
        rule = f"be one of {', '.join(map(str, [*architectures, *ensembles]))}"
        raise DataError(broken_rule("command line", "--arch", arch, rule, "correct it"))
    return [arch]


def _decoding(params_file: ParamsFile, options: argparse.Namespace) -> DecodingParams:
    """The section, with what the command line changes.

    Raises:
        DataError, ParamsError: a value breaks a rule.
    """
    for name, value in (("--beam", options.beam), ("--best", options.best)):
        if value is not None and value < 1:
            raise DataError(broken_rule("command line", name, value, "be at least 1", "raise it"))
    section = params_file.root["decoding"]
    section["beam_size"] = options.beam or section["beam_size"]
    shown = options.best or 1
    section["num_best"] = max(shown, section["num_best"]) if section["rerank"] == "mbr" else shown
    return validate(params_file, "decoding", DecodingParams)


def _shown(
    line: "Line", translated: "Translation", session: "Session", options: argparse.Namespace
) -> Iterator[str]:
    """The lines that are printed for one line of input, in the form the options ask for."""
    from pipelines.decoding.hypotheses import as_json
    from pipelines.looks.beam_tree import beam_tree, tree_lines
    from pipelines.translate.show import attention_lines, write_picture

    shown = options.best or 1
    group, texts = translated.hypotheses[:shown], translated.texts[:shown]
    if options.json:
        listed = [as_json(hypothesis, text) for hypothesis, text in zip(group, texts, strict=True)]
        yield json.dumps({"hypotheses": listed}, ensure_ascii=False)
    elif options.best and group:
        yield from (
            f"{hypothesis.score:8.4f}  {text}"
            for hypothesis, text in zip(group, texts, strict=True)
        )
    else:
        yield texts[0] if texts else ""
    if translated.trace is None or not group:
        return
    source = session.pieces([*(line.ids or ())], source=True)
    target = session.pieces(group[0].tokens)
    tree = beam_tree(translated.trace, group, session.piece)
    if options.tree:
        yield from tree_lines(tree)
    if options.attention:
        if group[0].attention is None:
            yield f"{options.arch} has no attention to show"
        else:
            yield from attention_lines(group[0].attention, source, target)
    if options.picture:
        write_picture(options.picture, tree, group[0].attention, source, target)


def _blocks(stream: Any) -> Iterator[list[bytes]]:
    """Lines: one at a time where somebody types, else many at once."""
    typed = stream.isatty()
    if typed:
        print("a sentence and Enter; Ctrl-D ends", file=sys.stderr)
    block: list[bytes] = []
    for line in stream:
        block.append(line)
        if typed or len(block) == _AT_ONCE:
            yield block
            block = []
    if block:
        yield block


if __name__ == "__main__":
    sys.exit(main())
