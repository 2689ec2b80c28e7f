"""BERT's two losses as a LightningModule."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.bert.data import SegmentBatch
from pipelines.bert.model import Bert
from pipelines.layers.linear_cross_entropy import linear_cross_entropy
from pipelines.training.module import TrainingModule


class BertPretraining(TrainingModule):
    """MLM + NSP with equal weight (Devlin et al. 2019, appendix A.2)."""

    network: Bert

    def losses(self, batch: SegmentBatch) -> tuple[Tensor, Mapping[str, tuple[Tensor, Tensor | int]]]:
        """Mean loss over masked tokens plus mean loss over pairs; accuracies of both."""
        output = self.network(batch.tokens_BT, batch.types_BT, batch.lengths_B)
        hidden_MD = self.network.mlm_hidden(output.hidden_BTD, batch.positions_M)
        num_masked, num_pairs = len(batch.labels_M), len(batch.nsp_B)
        mlm, _, mlm_correct = linear_cross_entropy(
            hidden_MD, self.network.embeddings.token.weight, self.network.mlm_bias, batch.labels_M
        )
        nsp_logits_B2 = self.network.nsp_logits(output.pooled_BD).float()
        nsp = F.cross_entropy(nsp_logits_B2, batch.nsp_B, reduction="sum")
        nsp_correct = (nsp_logits_B2.argmax(dim=1) == batch.nsp_B).sum()
        return mlm / num_masked + nsp / num_pairs, {
            "mlm_loss": (mlm, num_masked),
            "mlm_accuracy": (mlm_correct, num_masked),
            "nsp_loss": (nsp, num_pairs),
            "nsp_accuracy": (nsp_correct, num_pairs),
        }


@torch.no_grad()
def trivial_baselines(batches: list[SegmentBatch], most_frequent_token: int) -> dict[str, float]:
    """Accuracy of always answering the same: the commonest training token, the commoner NSP label."""
    labels_M = torch.cat([batch.labels_M for batch in batches])
    share = torch.cat([batch.nsp_B for batch in batches]).double().mean().item()
    return {
        "mlm_accuracy_unigram": (labels_M == most_frequent_token).double().mean().item(),
        "nsp_accuracy_majority": max(share, 1 - share),
    }
