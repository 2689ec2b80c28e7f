"""The programs of cards and READMEs, run where this project cannot be imported."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ALONE = """
import os, re, sys
sys.modules["pipelines"] = None
for folder in sys.argv[1:]:
    os.chdir(folder)
    text = open("README.md", encoding="utf-8").read()
    print(f"#{os.path.basename(folder)}")
    exec(re.findall(r"```python\\n(.*?)```", text, re.DOTALL)[0], {})
"""


def run_alone(folders: Sequence[Path], python: str = sys.executable) -> dict[str, str]:
    """What the program of each folder's README prints."""
    command = [python, "-c", _ALONE, *map(str, folders)]
    done = subprocess.run(
        command, cwd=folders[0].parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(
        re.findall(r"^#([-\w]+)\n(.*?)\n(?=#[a-z]|\Z)", done.stdout, re.DOTALL | re.MULTILINE)
    )
    assert list(found) == [folder.name for folder in folders]
    return found
