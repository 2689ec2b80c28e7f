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
preflight       every check before a run, and recipes

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

# Tables and messages hold signs that not every terminal can show: one more "?" is better than a
# traceback.
for _stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(AttributeError, ValueError):
        _stream.reconfigure(errors="replace")  # type: ignore[union-attr]
