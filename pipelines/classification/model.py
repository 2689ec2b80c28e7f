"""BERT's encoder under a classifier (Devlin et al. 2019, section 4.1).

Shapes: R rows, T length, C labels.
"""

import torch
from torch import Tensor, nn

from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.models.bert import BertEncoder, attention_mask
from pipelines.nn.cpu.dropout import Dropout
from pipelines.nn.transformer.blocks import initialize_like_bert
from pipelines.nn.transformer.params import BertModelParams


class BertClassifier(BertEncoder):
    """Logits of the labels from the pooled [CLS]; `transformers`' BertForSequenceClassification.

    Args:
        params: sizes and dropout.
        vocab_size: of the tokenizer.
        num_labels: C.
    """

    heads = ("classifier",)

    def __init__(self, params: BertModelParams, vocab_size: int, num_labels: int) -> None:
        super().__init__(params, vocab_size)
        self.dropout = Dropout(params.dropout)
        self.classifier = nn.Linear(params.width, num_labels)
        initialize_like_bert(self, params.initializer_range)

    def logits(self, tokens_RT: Tensor, types_RT: Tensor) -> Tensor:
        """Scores [R, C] of the labels before the softmax, from each row's pooled [CLS]."""
        mask_R11T = attention_mask((tokens_RT != PAD).long(), packed=False)
        hidden_RTD = self(tokens_RT, types_RT, mask_R11T)
        R, T = tokens_RT.shape
        first_R = torch.arange(R, device=tokens_RT.device) * T
        return self.classifier(self.dropout(self.pooled(hidden_RTD, first_R)))
