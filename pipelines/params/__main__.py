"""Change params.yaml by recipes, and go back.

python -m pipelines.params apply multi30k     # settings of recipes/multi30k.yaml, over params.yaml
python -m pipelines.params back               # as it was before
python -m pipelines.params list               # all recipes, and which are applied now
python -m pipelines.params new mine --source en --target fr --raw FOLDER   # a recipe for your text
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.frame.errors import exit_code
from pipelines.frame.params_reader import PARAMS_FILE
from pipelines.params.kept import back, changes_now
from pipelines.params.new.recipe import new, new_of_documents
from pipelines.params.recipes import apply_recipes, overview
from pipelines.report.table import render


def _applied(recipes: Sequence[str]) -> str:
    names = ", ".join(recipes)
    if not (changes := apply_recipes(recipes)):
        return f"{PARAMS_FILE}: {names} is applied already"
    return "\n".join([*changes, "`python -m pipelines.params back` takes this back"])


def _listed() -> str:
    rows = [
        [name, "yes" if applied else "", what if len(what) <= 48 else f"{what[:47]}…"]
        for name, applied, what in overview()
    ]
    lines = [render([["recipe", "applied", "what it is"], *rows], left=3)]
    what, edited = changes_now()
    if what:
        since = "; edited since" if edited else ""
        lines.append(f"\n{PARAMS_FILE} was changed by {', '.join(what)}{since}")
    return "\n".join(lines)


def _act(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "apply":
            print(_applied(arguments.recipes))
        case "back":
            print(back())
        case "list":
            print(_listed())
        case "new":
            where = (arguments.raw, arguments.minutes)
            lines = (
                new(arguments.name, (arguments.source, arguments.target), *where)
                if arguments.source
                else new_of_documents(arguments.name, arguments.target, *where)
            )
            for line in lines:
                print(line, flush=True)
    return 0


def main() -> int:
    """Do what the command line asks; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.params",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    applying = commands.add_parser("apply", help="lay recipes over params.yaml, in this order")
    applying.add_argument("recipes", nargs="+", metavar="RECIPE", help="a name, or a path")
    commands.add_parser("back", help="params.yaml as it was before the last change by a command")
    commands.add_parser("list", help="all recipes, and which of them are applied now")
    making = commands.add_parser("new", help="a recipe for text of your own, from its folder")
    making.add_argument("name", metavar="NAME", help="of the recipe")
    making.add_argument("--source", help="language to translate from; none: text of one language")
    making.add_argument(
        "--target", required=True, help="language to translate into, or of the text"
    )
    making.add_argument("--raw", required=True, type=Path, metavar="FOLDER", help="with the text")
    making.add_argument("--minutes", type=float, default=10, help="a run may take here (10)")
    arguments = parser.parse_args()
    return exit_code(lambda: _act(arguments))


if __name__ == "__main__":
    sys.exit(main())
