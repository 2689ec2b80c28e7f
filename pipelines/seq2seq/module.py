"""Translation by maximum likelihood as a LightningModule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines.formats.vocabulary.special_tokens import PAD
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.nn.linear_cross_entropy import linear_cross_entropy
from pipelines.seq2seq.bleu import ValidationBleu
from pipelines.seq2seq.data import PairBatch
from pipelines.seq2seq.gradients import report_source_gradients
from pipelines.seq2seq.inputs import InARow, Padded, Size, hidden, padded, sums, unpadded
from pipelines.seq2seq.params import CommonParams
from pipelines.seq2seq.r_drop import symmetric_divergence
from pipelines.training.objective import Losses
from pipelines.training.update import TrainingModule
from pipelines.watch.speed import Cost


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
        """The start a ``bert2bert`` block describes, for the parameters `bert_names` lists."""
        return cls(frozenset(model.bert_names()), params.pretrained_rate, params.frozen_updates)


class Seq2SeqFinetuning(TrainingModule):
    """Teacher forcing, cross-entropy averaged over real target tokens.

    Args:
        r_drop, scheduled_sampling: see `ArchitectureParams`.
        start: how pretrained weights are treated; None where all are new.
        bleu: measures translations of the validation pairs; None for losses alone.
        others: see `Objective`.
    """

    network: Seq2SeqModel
    params: CommonParams
    sums = staticmethod(sums)
    objectives = ("loss",)
    perplexity = "perplexity", "loss"

    def __init__(
        self,
        *others: Any,
        r_drop: float = 0.0,
        scheduled_sampling: float = 0.0,
        start: PretrainedStart | None = None,
        bleu: ValidationBleu | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*others, **more)
        self.r_drop = r_drop
        self.scheduled_sampling = scheduled_sampling
        self.start = start
        self.bleu = bleu
        self.rate_factors = dict.fromkeys(start.names, start.rate) if start else {}
        self._samples: list[dict[str, str]] = []

    def frozen(self, update: int) -> Collection[str]:
        """See `Objective.frozen`."""
        return self.start.names if self.start and update < self.start.frozen_updates else ()

    def num_terms(self, batch: PairBatch) -> Mapping[str, int]:
        """The number of target tokens, by which the sum of their losses is divided."""
        return {"loss": batch.num_tokens}

    def validate(self) -> dict[str, float]:
        """See `Objective.validate`; with BLEU where it is asked for."""
        measured = super().validate()
        if self.bleu:
            translated = self.bleu.measure(self.network, self.device)
            measured["valid_bleu"], self._samples = translated.bleu, translated.samples
        return measured

    def samples(self) -> Sequence[Mapping[str, str]]:
        """See `Objective.samples`."""
        return self._samples

    def validation_rank(self, measured: Mapping[str, float]) -> list[float]:
        """See `Objective.validation_rank`; by BLEU, of equal ones by loss,
        where ``select_by`` says so.
        """
        loss = super().validation_rank(measured)
        return [-measured["valid_bleu"], *loss] if self.params.select_by == "bleu" else loss

    def losses(self, batch: PairBatch) -> Losses:
        """Label-smoothed loss to minimise; plain loss and token accuracy to watch."""
        learns = self.network.training
        # Points of the curves and the model's own predictions need padded rows.
        detailed, sampled = learns and self.detailed, learns and self.scheduled_sampling > 0
        inputs: Padded | InARow
        if self.unpads() and not (detailed or sampled):
            inputs = unpadded(batch, self._size() if self.compiled and learns else None)
        else:
            inputs = padded(batch, self._own_predictions(batch) if sampled else batch.inputs_BT)
        if learns and self.r_drop:
            return self._twice(batch, inputs, detailed=detailed)
        handle = self._watch_source(batch.source_lengths_B) if detailed else None
        smoothed, likelihood, correct = self.sums_of(inputs, self.params.label_smoothing)
        if handle:
            handle.remove()
        seen = batch.num_tokens
        measured = {"loss": (likelihood, seen), "token_accuracy": (correct, seen)}
        return Losses({"loss": smoothed}, measured)

    def _twice(self, batch: PairBatch, inputs: Padded | InARow, *, detailed: bool) -> Losses:
        """Two passes with different dropout, and how far apart they are (R-Drop)."""
        handle = self._watch_source(batch.source_lengths_B) if detailed else None
        passes = [hidden(self.network, inputs) for _ in range(2)]
        if handle:
            handle.remove()
        weight, bias = self.network.output.weight, self.network.output_bias
        smoothed, likelihood, correct = linear_cross_entropy(
            torch.cat(passes),
            weight,
            bias,
            inputs.labels_A.repeat(2),
            label_smoothing=self.params.label_smoothing,
        )
        divergence = symmetric_divergence(passes[0], passes[1], weight, bias)
        num_tokens = batch.num_tokens
        measured = {
            "loss": (likelihood, 2 * num_tokens),
            "token_accuracy": (correct, 2 * num_tokens),
            "divergence": (divergence.detach(), num_tokens),
        }
        # The objective is a mean of two passes, so half of the weight of the paper's sum.
        return Losses({"loss": smoothed / 2 + 0.5 * self.r_drop * divergence}, measured)

    def unpads(self) -> bool:
        """See `Objective.unpads`."""
        return self.network.unpads and super().unpads()

    def compiles_whole(self) -> bool:
        """See `Objective.compiles_whole`: padded rows have a size of their own in each batch."""
        return self.unpads() and not self.r_drop

    def _size(self) -> Size:
        """What a compiled step is rounded up by."""
        mine = -(-self.params.batch_size // self.trainer.world_size)
        tokens = self.params.batch_unit == "tokens" and not self.micro_batch_size
        return Size(self.micro_batch_size or mine, mine if tokens else 0)

    def _watch_source(self, lengths_B: Tensor) -> Any:
        """See `report_source_gradients`; of the first pass. A rank's loss is scaled up,
        for DDP takes means.
        """
        scale = 1.0 / self.trainer.world_size
        return report_source_gradients(
            self.network.source_embeddings, lengths_B, self.meter.add, scale=scale
        )

    @torch.no_grad()
    def _own_predictions(self, batch: PairBatch) -> Tensor:
        """Inputs [B, T], some of them replaced by what the model would have said there."""
        share = self.scheduled_sampling * self.global_step / self.updates
        hidden_BTD = self.network.hidden(batch.source_BS, batch.source_lengths_B, batch.inputs_BT)
        said = [self.network.logits(row_TD).argmax(dim=-1) for row_TD in hidden_BTD[:, :-1]]
        own_BT = torch.cat([batch.inputs_BT[:, :1], torch.stack(said)], dim=1)
        replaced_BT = (torch.rand(own_BT.shape, device=own_BT.device) < share) & (
            batch.inputs_BT != PAD
        )
        return torch.where(replaced_BT, own_BT, batch.inputs_BT)

    def cost(self, batch: PairBatch) -> Cost:
        """Target tokens; operations differ from family to family and are not counted."""
        return Cost(batch.num_tokens, batch.labels_BT.numel(), 0)
