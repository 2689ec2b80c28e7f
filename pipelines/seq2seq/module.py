"""Translation by maximum likelihood as a LightningModule."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.layers.linear_cross_entropy import linear_cross_entropy
from pipelines.seq2seq.data import PairBatch
from pipelines.seq2seq.models.protocol import Seq2SeqModel
from pipelines.seq2seq.params import CommonParams
from pipelines.tokenizer.special_tokens import PAD
from pipelines.training.module import Cost, Losses, TrainingModule


@dataclass(frozen=True)
class PretrainedStart:
    """How weights that come from a BERT are treated.

    Attributes:
        names: of these parameters.
        rate: factor of their learning rate.
        frozen_updates: as many updates first they stand still.
    """

    names: frozenset[str]
    rate: float
    frozen_updates: int

    @classmethod
    def of(cls, params: Any, model: Seq2SeqModel) -> "PretrainedStart":
        """As a block of a family with `Seq2SeqModel.bert_names` has it."""
        return cls(frozenset(model.bert_names()), params.pretrained_rate, params.frozen_updates)


class Seq2SeqFinetuning(TrainingModule):
    """Teacher forcing, cross-entropy averaged over real target tokens.

    Args:
        start: how pretrained weights are treated; None where all are new.
        others: see `TrainingModule`.
    """

    network: Seq2SeqModel
    params: CommonParams
    objectives = ("loss",)

    def __init__(self, *others: Any, start: PretrainedStart | None = None, **more: Any) -> None:
        super().__init__(*others, **more)
        self.start = start
        self.rate_factors = dict.fromkeys(start.names, start.rate) if start else {}

    def frozen(self, update: int) -> Collection[str]:
        """See `TrainingModule.frozen`."""
        return self.start.names if self.start and update < self.start.frozen_updates else ()

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
