"""Greedy decoding, for validation; the same as a beam of one.

Shapes: B sentences, S source length.
"""

import torch
from torch import Tensor

from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.nn.cuda import waiting


@torch.no_grad()
def greedy(
    model: Seq2SeqModel, source_BS: Tensor, lengths_B: Tensor, max_length: int
) -> list[list[int]]:
    """The likeliest next token, step after step: token ids of each sentence, without START and END.

    Args:
        model: in evaluation mode.
        source_BS: [CLS] x [SEP], padded.
        lengths_B: real tokens.
        max_length: steps at most.
    """
    state = model.start(source_BS, lengths_B)
    token_B = torch.full_like(lengths_B, START)
    done_B = torch.zeros_like(lengths_B, dtype=torch.bool)
    steps = []
    for step in range(1, max_length + 1):
        logits_BV, state = model.step(token_B, state)
        token_B = logits_BV.argmax(dim=-1).masked_fill(done_B, PAD)
        done_B |= token_B == END
        steps.append(token_B.masked_fill(token_B == END, PAD))
        if waiting.may_look(done_B, step) and bool(done_B.all()):
            break
    return [[token for token in row if token != PAD] for row in torch.stack(steps, dim=1).tolist()]
