"""Translation by maximum likelihood as a LightningModule."""

from collections.abc import Mapping

from torch import Tensor

from pipelines.layers.linear_cross_entropy import linear_cross_entropy
from pipelines.seq2seq.data import PairBatch
from pipelines.seq2seq.models.protocol import Seq2SeqModel
from pipelines.seq2seq.params import CommonParams
from pipelines.tokenizer.special_tokens import PAD
from pipelines.training.module import TrainingModule


class Seq2SeqFinetuning(TrainingModule):
    """Teacher forcing, cross-entropy averaged over real target tokens."""

    network: Seq2SeqModel
    params: CommonParams

    def losses(self, batch: PairBatch) -> tuple[Tensor, Mapping[str, tuple[Tensor, Tensor | int]]]:
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
        return smoothed / num_tokens, {"loss": (likelihood, num_tokens), "token_accuracy": (correct, num_tokens)}
