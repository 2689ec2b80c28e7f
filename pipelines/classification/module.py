"""Classification as a LightningModule."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.classification.data import NO_LABEL, ClassifiedBatch
from pipelines.classification.model import BertClassifier
from pipelines.nn.plain import seen
from pipelines.training.objective import Losses
from pipelines.training.update import TrainingModule
from pipelines.watch.speed import Cost


class BertClassification(TrainingModule):
    """Cross-entropy of the label."""

    network: BertClassifier
    objectives = ("loss",)

    def num_terms(self, batch: ClassifiedBatch) -> Mapping[str, int]:
        """Labelled rows."""
        return {"loss": batch.num_examples}

    def losses(self, batch: ClassifiedBatch) -> Losses:
        """Loss, and accuracy to watch."""
        logits_RC = seen(self.network.logits(batch.tokens_RT, batch.types_RT).float())
        loss = F.cross_entropy(logits_RC, batch.labels_R, reduction="sum", ignore_index=NO_LABEL)
        correct, rows = (logits_RC.argmax(dim=1) == batch.labels_R).sum(), batch.num_examples
        return Losses({"loss": loss}, {"loss": (loss, rows), "accuracy": (correct, rows)})

    def cost(self, batch: ClassifiedBatch) -> Cost:
        """Tokens; operations are not counted."""
        return Cost(batch.num_tokens, batch.tokens_RT.numel(), 0)


@torch.no_grad()
def probabilities(network: BertClassifier, batches: Sequence[ClassifiedBatch]) -> Tensor:
    """Probabilities [N, C] of every label for the rows of all batches, on the CPU."""
    device = network.classifier.weight.device
    logits = [
        network.logits(batch.tokens_RT.to(device), batch.types_RT.to(device)) for batch in batches
    ]
    return torch.cat(logits).float().softmax(dim=1).cpu()
