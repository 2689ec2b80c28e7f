"""Outs that other params left under ``data``: they are set aside, so that they count for nothing.

Some stages read a folder whole, for lists cannot be deps in ``dvc.yaml``: ``evaluation`` has
``data/decoding``. What a recipe with other architectures left there would enter its digest, and a
fresh clone would come to another ``dvc.lock``. So every stage, before it works, moves what its
params do not name to ``.runs/left_overs``; DVC takes the digests of deps when the stage is done.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipelines.frame.errors import ParamsError
from pipelines.frame.params_reader import ParamsFile
from pipelines.frame.run_folder import RUNS

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "data/classification": ("classification.tasks",),
    "data/seq2seq": ("seq2seq.architectures",),
    "data/decoding": ("seq2seq.architectures", "ensembles"),
    "data/diagnosis": ("diagnosis.models",),
}


def set_aside(params_file: ParamsFile) -> list[str]:
    """Move outs that params do not name out of ``data``; what was moved.

    DVC has them in its cache, and brings them back with the params that name them.
    """
    moved = []
    for folder, sections in FOLDERS.items():
        named: set[str] = set()
        for section in sections:
            with contextlib.suppress(ParamsError):  # told where the section is needed
                named |= set(params_file.get(section) or ())
        for path in sorted(Path(folder).glob("[!.]*")):
            if path.name not in named:
                with contextlib.suppress(FileNotFoundError):  # another stage was faster
                    kept = RUNS / "left_overs" / path
                    shutil.rmtree(kept, ignore_errors=True)
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, kept)
                    moved.append(path.as_posix())
    return moved
