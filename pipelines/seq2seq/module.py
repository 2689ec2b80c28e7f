"""Translation by maximum likelihood as a LightningModule."""

from collections.abc import Mapping

from pipelines.layers.linear_cross_entropy import linear_cross_entropy
from pipelines.seq2seq.data import PairBatch
from pipelines.seq2seq.models.protocol import Seq2SeqModel
from pipelines.seq2seq.params import CommonParams
from pipelines.tokenizer.special_tokens import PAD
from pipelines.training.module import Cost, Losses, TrainingModule


class Seq2SeqFinetuning(TrainingModule):
    """Teacher forcing, cross-entropy averaged over real target tokens."""

    network: Seq2SeqModel
    params: CommonParams
    objectives = ("loss",)

    def num_terms(self, batch: PairBatch) -> Mapping[str, int]:
        """Target tokens."""
        return {"loss": batch.num_tokens}

    def losses(self, batch: PairBatch) -> Losses:
        """Label-smoothed loss to minimise; plain loss and token accuracy to watch."""
        hidden_BTD = self.network.hidden(batch.source_BS, batch.source_lengths_B, batch.inputs_BT)
        real_BT = batch.labels_BT != PAD
        labels_N = batch.labels_BT[real_BT]
        smoothed, likelihood, correct = linear_cross_entropy(
            hidden_BTD[real_BT],
            self.network.output.weight,
            self.network.output_bias,
            labels_N,
            label_smoothing=self.params.label_smoothing,
        )
        num_tokens = len(labels_N)
        return Losses({"loss": smoothed}, {"loss": (likelihood, num_tokens), "token_accuracy": (correct, num_tokens)})

    def cost(self, batch: PairBatch) -> Cost:
        """Target tokens; operations differ from family to family and are not counted."""
        return Cost(batch.num_tokens, batch.labels_BT.numel(), 0)
