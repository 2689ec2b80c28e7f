"""Raw text to BLEU, one package per stage, in the order of the flow.

corpus      raw text → documents and sentence pairs
tokenizer   corpus → WordPiece
shards      corpus + tokenizer → memory-mapped tokens
bert        shards → BERT (MLM + NSP)
seq2seq     pair shards (+ BERT) → one model per architecture
decoding    models → hypotheses
evaluation  hypotheses → BLEU, chrF
report      all of it → tables, pictures, one page
"""

import contextlib
import sys

# Tables and messages hold signs that not every terminal can show: one more "?" is better than a
# traceback.
for _stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(AttributeError, ValueError):
        _stream.reconfigure(errors="replace")  # type: ignore[union-attr]
