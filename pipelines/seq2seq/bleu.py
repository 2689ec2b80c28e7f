"""BLEU of greedy translations of validation pairs: what a model can do,
where the loss only says how sure it is.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pipelines.formats.shards.arrays import PairShard
from pipelines.formats.text import spaced
from pipelines.formats.tokenizer.tokenizer import SubwordTokenizer
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.models.protocol.sources import sources
from pipelines.seq2seq.greedy import greedy
from pipelines.training.sharing import gathered, my_share

_SHOWN = 5  # sample translations of a validation


@dataclass(frozen=True)
class Translated:
    """What a model made of the validation pairs: BLEU, 0 to 100,
    and the first few with source and reference.
    """

    bleu: float
    samples: list[dict[str, str]]


@dataclass(frozen=True)
class ValidationBleu:
    """The first pairs of a split and how to translate them.

    References are the tokenizer's own rendering of the target side, and letters of scripts that
    write no spaces are words, so this BLEU chooses between weights; reported figures come from the
    stages decoding and evaluation.

    Attributes:
        shard: pairs.
        tokenizer: ids → text.
        num_pairs: the first so many are translated.
        max_length: tokens of a translation.
        batch_size: sentences at once.
    """

    shard: PairShard
    tokenizer: SubwordTokenizer
    num_pairs: int
    max_length: int
    batch_size: int = 64

    def measure(self, model: Seq2SeqModel, device: torch.device) -> Translated:
        """Translate with the model as it is; its mode is as before."""
        import sacrebleu

        training = model.training
        model.eval()
        count = min(self.num_pairs, len(self.shard.source))
        order = np.argsort(self.shard.source.lengths[:count], kind="stable")
        found: list[list[int]] = [[] for _ in range(count)]
        mine = []
        for number in my_share(-(-count // self.batch_size)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            batch = [
                tensor.to(device) for tensor in sources([self.shard.source[row] for row in rows])
            ]
            translated = greedy(model, batch[0], batch[1], self.max_length)
            mine.append((number, list(zip(rows.tolist(), translated, strict=True))))
        for row, tokens in (one for part in gathered(mine) for one in part):
            found[row] = tokens
        model.train(training)
        references = [self.shard.target[row].tolist() for row in range(count)]
        hypotheses, wanted = (
            [self.tokenizer.decode(row) for row in rows] for rows in (found, references)
        )
        texts = [
            self.tokenizer.decode(self.shard.source[row].tolist())
            for row in range(min(count, _SHOWN))
        ]
        samples = [
            {"source": source, "reference": reference, "hypothesis": hypothesis}
            for source, reference, hypothesis in zip(texts, wanted, hypotheses, strict=False)
        ]
        bleu = sacrebleu.corpus_bleu(list(map(spaced, hypotheses)), [list(map(spaced, wanted))])
        return Translated(float(bleu.score), samples)
