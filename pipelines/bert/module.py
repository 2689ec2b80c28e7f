"""BERT's two losses as a LightningModule."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from pipelines.bert.data import PretrainingBatch
from pipelines.bert.inputs import compiled_size, padded, sums, unpadded
from pipelines.bert.params import BertParams
from pipelines.frame.errors import DataError, broken_rule
from pipelines.models.bert import Bert
from pipelines.training.objective import Losses
from pipelines.training.update import TrainingModule
from pipelines.watch.speed import Cost


@dataclass(frozen=True)
class Baselines:
    """What is to be had without reading the context.

    Attributes:
        mlm_accuracy_unigram: always answering the commonest training token.
        unigram_entropy: MLM loss, in nats, of answering with the training tokens' frequencies.
        uniform_loss: ln V.
        nsp_uniform_loss: ln 2.
        nsp_accuracy_majority: always answering the commoner label.
    """

    mlm_accuracy_unigram: float
    unigram_entropy: float
    uniform_loss: float
    nsp_accuracy_majority: float
    nsp_uniform_loss: float = math.log(2)


class BertPretraining(TrainingModule):
    """MLM + NSP with equal weight (Devlin et al. 2019, appendix A.2).

    Args:
        network: the model.
        params: of the section.
        validation_batches: fixed batches.
        baselines: what the losses are held against.
        micro_batch_size: rows per forward pass; 0 takes a rank's part of the batch at once.
        seed: of dropout.
    """

    network: Bert
    sums = staticmethod(sums)
    perplexity = "mlm_perplexity", "mlm_loss"

    def __init__(
        self,
        network: Bert,
        params: BertParams,
        validation_batches: Sequence[PretrainingBatch],
        baselines: Baselines,
        *,
        micro_batch_size: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            network,
            params.training,
            learning_rate=params.training.learning_rate,
            updates=params.updates,
            validation_batches=validation_batches,
            micro_batch_size=micro_batch_size,
            seed=seed,
        )
        self.baselines, self.shape = baselines, params.model
        self.with_nsp = params.segments.nsp != "none"
        self.objectives = ("mlm_loss", "nsp_loss") if self.with_nsp else ("mlm_loss",)
        if not self.with_nsp:
            network.pooler.requires_grad_(False)
            network.nsp.requires_grad_(False)

    def compiles_whole(self) -> bool:
        """See `Objective.compiles_whole`."""
        return True

    def num_terms(self, batch: PretrainingBatch) -> Mapping[str, int]:
        """Masked tokens and pairs."""
        terms = {"mlm_loss": len(batch.labels_M), "nsp_loss": len(batch.nsp_S)}
        return terms if self.with_nsp else {"mlm_loss": terms["mlm_loss"]}

    def losses(self, batch: PretrainingBatch) -> Losses:
        """Sums over masked tokens and over pairs; accuracies of both."""
        learns = self.compiled and self.network.training
        tokens = compiled_size(batch, self.micro_batch_size) if learns else 0
        inputs = unpadded(batch, tokens) if self.unpads() else padded(batch)
        if learns:
            inputs = inputs.rounded_up(tokens)
        mlm, mlm_correct, nsp, nsp_correct = self.sums_of(inputs, self.with_nsp)
        num_masked, num_pairs = len(batch.labels_M), len(batch.nsp_S)
        objective = {"mlm_loss": mlm}
        measured = {"mlm_loss": (mlm, num_masked), "mlm_accuracy": (mlm_correct, num_masked)}
        if self.with_nsp:
            objective["nsp_loss"] = nsp
            measured |= {"nsp_loss": (nsp, num_pairs), "nsp_accuracy": (nsp_correct, num_pairs)}
        return Losses(objective, measured)

    def cost(self, batch: PretrainingBatch) -> Cost:
        """Useful operations: 6 per weight and token, attention within sequences,
        the output layer where masked.
        """
        shape = self.shape
        D = shape.width
        tokens = int(batch.per_row[2].sum())
        M = len(batch.labels_M)
        S = len(batch.nsp_S)
        products = tokens * (4 * D * D + 2 * D * shape.feed_forward_width) + 2 * D * batch.attended
        blocks = shape.num_layers * products
        heads = M * (D * D + D * self.network.vocab_size) + S * (D * D + 2 * D) * self.with_nsp
        return Cost(tokens, batch.tokens_RT.numel(), 6 * (blocks + heads))

    def warnings(self, update: int, measured: Mapping[str, float]) -> Iterator[str]:
        """A quarter of the way down the road the loss should have left the unigram plateau."""
        entropy, loss = self.baselines.unigram_entropy, measured["valid_mlm_loss"]
        if update >= self.updates // 4 and loss > 0.97 * entropy:
            yield (
                f"update {update}: MLM loss {loss:.3f} sits on the unigram plateau "
                f"({entropy:.3f}): the model knows frequencies and no context yet. Usual causes: "
                "too few updates, a learning rate or initializer_range too small (narrow networks "
                "want more), repeated lines in the corpus"
            )


def measure_baselines(
    batches: Sequence[PretrainingBatch], counts: torch.Tensor, vocab_size: int
) -> Baselines:
    """Baselines of held-out batches, given how often each token occurs in training.

    Raises:
        DataError: there is no masked token in them, or no pair: nothing to measure.
    """
    held = [(batch.labels_M, batch.nsp_S) for batch in batches]
    labels_M = torch.cat([labels for labels, _ in held] or [torch.zeros(0)])
    pairs_S = torch.cat([pairs for _, pairs in held] or [torch.zeros(0)])
    for name, found in (("masked tokens", labels_M), ("rows", pairs_S)):
        if not len(found):
            rule = "be at least 1, or there is nothing to measure"
            remedy = "add documents, or raise bert.masking.evaluation_rate"
            raise DataError(broken_rule("bert, held-out documents", name, 0, rule, remedy))
    share = pairs_S.double().mean().item()
    frequencies = counts.double() / counts.sum()
    seen = frequencies[frequencies > 0]
    return Baselines(
        (labels_M == counts.argmax()).double().mean().item(),
        -(seen * seen.log()).sum().item(),
        torch.tensor(float(vocab_size)).log().item(),
        max(share, 1 - share),
    )
