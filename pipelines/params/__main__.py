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

from pipelines.frame.errors import MasklineError
from pipelines.frame.left_overs import set_aside
from pipelines.frame.params_reader import PARAMS_FILE, read_params
from pipelines.frame.run_folder import RUNS
from pipelines.params.kept import back, changes_now
from pipelines.params.new.recipe import new
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


def _now() -> str:
    params = read_params()
    raw, source, target = (
        params.get(f"corpus.{key}") for key in ("raw", "source_language", "target_language")
    )
    recipes = ", ".join(name for name, applied, _ in overview() if applied) or "no recipe"
    return f"\n{raw}, {source} → {target}, {recipes}"


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
    commands.add_parser("applied", help="what text params.yaml is about, and by which recipes")
    commands.add_parser("tidy", help="set aside what other params left under data")
    commands.add_parser("list", help="all recipes, and which of them are applied now")
    making = commands.add_parser("new", help="a recipe for text of your own, from its folder")
    making.add_argument("name", metavar="NAME", help="of the recipe")
    making.add_argument("--source", required=True, help="language to translate from")
    making.add_argument("--target", required=True, help="language to translate into")
    making.add_argument("--raw", required=True, type=Path, metavar="FOLDER", help="with the text")
    making.add_argument("--minutes", type=float, default=10, help="a run may take here (10)")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "apply":
                print(_applied(arguments.recipes))
            case "back":
                print(back())
            case "list":
                print(_listed())
            case "new":
                languages = (arguments.source, arguments.target)
                for line in new(arguments.name, languages, arguments.raw, arguments.minutes):
                    print(line, flush=True)
            case "applied":
                print(_now())
        if arguments.command in ("apply", "back", "tidy") and (moved := set_aside(read_params())):
            print(f"set aside in {RUNS}/left_overs, for later: {', '.join(moved)}")
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
