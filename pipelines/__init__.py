"""Raw text to BLEU: a package per stage, in the order of the flow, and what they stand on.

corpus          raw text → documents and sentence pairs
tokenizer       corpus → a vocabulary
shards          corpus + tokenizer → memory-mapped token ids
bert            shards → a BERT (MLM + NSP)
classification  a BERT + labelled texts → a classifier
seq2seq         pair shards (+ a BERT) → one model per architecture
decoding        a model → hypotheses
ensemble        several models → their common hypotheses
evaluation      hypotheses → BLEU, chrF and their like
report          all of it → tables, pictures, one page

translate       a command line over a trained model
preflight       every check before a run
params          all of params.yaml: its rules, recipes, the way back

training        one update from top to bottom, checkpoints, resume
models          networks, one file each
optim           optimizers and schedules
formats         what one stage writes and several read
nn              building blocks of networks
watch           what a training shows; decides nothing
frame           run folders, processes, params, errors; moves bytes, never numbers
"""

import contextlib
import sys
from importlib.util import find_spec

# `dvc repro` in a shell without the environment finds some other Python.
_LACKS = [name for name in ("ruamel", "pydantic", "numpy", "torch") if find_spec(name) is None]
_LACKS += ["Python 3.11"] if sys.version_info < (3, 11) else []
if _LACKS:
    sys.exit(
        f"error: {sys.executable} (Python {sys.version.split()[0]}) lacks {', '.join(_LACKS)}; "
        "activate the environment in which this project is installed (source .venv/bin/activate), "
        "or say `make run`"
    )

# Tables and messages hold signs that not every terminal can show: one more "?" is better than a
# traceback.
for _stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(AttributeError, ValueError):
        _stream.reconfigure(errors="replace")  # type: ignore[union-attr]
