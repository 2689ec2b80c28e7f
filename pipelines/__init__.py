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
