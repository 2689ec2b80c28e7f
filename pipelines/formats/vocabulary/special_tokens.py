"""The special tokens and their ids, BERT's own, in this order in every vocabulary."""

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_SPECIAL_TOKENS = len(SPECIAL_TOKENS)

# A decoder starts with [CLS] and ends with [SEP], so that a BERT can become one.
START, END = CLS, SEP
