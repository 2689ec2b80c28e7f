"""Networks of others that equal ours: Hugging Face's encoder-decoders, and an LSTM of torch.nn
modules.

Shapes: B batch, S source length, T target length, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.exports.hugging_face import LAYER, places_of_berts
from pipelines.formats.vocabulary.special_tokens import END, PAD, START
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.seq2seq.data import PairBatch


def marian(
    vocab_size: int, *, layers: int, width: int, feed_forward_width: int, heads: int, attention: str
) -> Any:
    """`transformers.MarianMTModel`: a post-norm Transformer, all embeddings tied."""
    from transformers import MarianConfig, MarianMTModel

    sides: dict[str, Any] = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", layers),
            ("ffn_dim", feed_forward_width),
            ("attention_heads", heads),
        )
    }
    config = MarianConfig(  # type: ignore[call-arg]
        vocab_size=vocab_size,
        d_model=width,
        dropout=0.1,
        attention_dropout=0.1,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=128,
        pad_token_id=PAD,
        decoder_start_token_id=START,
        eos_token_id=END,
        forced_eos_token_id=None,
        attn_implementation=attention,
        **sides,
    )
    return MarianMTModel(config)


@torch.no_grad()
def give_weights(ours: Seq2SeqModel, theirs: Any) -> None:
    """Make a `marian` our post-norm ``transformer`` of one table of embeddings: weights, positions,
    LayerNorm's ε.
    """
    for side in ("encoder", "decoder"):
        own: Any = ours.get_submodule(side)
        its = theirs.model.get_submodule(side)
        for block, layer in zip(own.blocks, its.layers, strict=True):
            for name, other in LAYER.items():
                if side == "encoder" and name.startswith("cross"):
                    continue
                layer.get_submodule(other).load_state_dict(block.get_submodule(name).state_dict())
        its.embed_positions.weight.copy_(own.embeddings.table_PD)
    theirs.model.shared.weight.copy_(ours.output.weight)
    theirs.final_logits_bias.copy_(ours.output_bias[None])
    for part in theirs.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-12


def bert2bert(
    vocab_size: int, *, layers: int, width: int, feed_forward_width: int, heads: int, attention: str
) -> Any:
    """`transformers.EncoderDecoderModel` of two BERTs."""
    from transformers import BertConfig, EncoderDecoderConfig, EncoderDecoderModel

    encoder, decoder = (
        BertConfig(  # type: ignore[call-arg]
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=feed_forward_width,
            max_position_embeddings=128,
            is_decoder=side,
            add_cross_attention=side,
            attn_implementation=attention,
        )
        for side in (False, True)
    )
    config: Any = EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = START, PAD
    return EncoderDecoderModel(config)


@torch.no_grad()
def give_bert_weights(ours: Seq2SeqModel, theirs: Any) -> None:
    """Make an `EncoderDecoderModel` our ``bert2bert``, cross-attention included."""
    own, its = dict(ours.named_parameters(remove_duplicate=False)), theirs.state_dict()
    for place in places_of_berts(own):
        its[place.theirs].copy_(own[place.ours])


class LstmOfModules(nn.Module):
    """Our ``recurrent`` family with LSTM cells and ``general`` attention, written with torch.nn's
    modules.
    """

    def __init__(
        self, vocab_size: int, *, layers: int, width: int, attention: str, dropout: float = 0.1
    ) -> None:
        super().__init__()
        assert attention == "eager"  # its own
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)
        # the two directions beside each other are as wide as the decoder
        self.encoder = nn.LSTM(
            width, width // 2, layers, batch_first=True, bidirectional=True, dropout=dropout
        )
        self.cells = nn.ModuleList(
            nn.LSTMCell((2 if number == 0 else 1) * width, width) for number in range(layers)
        )
        self.bridge = nn.Linear(width, 2 * layers * width)
        self.key = nn.Linear(width, width, bias=False)
        self.readout = nn.Linear(2 * width, width)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor, labels: Tensor
    ) -> Any:
        """Label-smoothed loss of a batch, in a dictionary as Hugging Face's Trainer takes it."""
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embedding(input_ids)),
            attention_mask.sum(1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        memory_BSD, (hidden, _) = self.encoder(packed)
        memory_BSD, _ = nn.utils.rnn.pad_packed_sequence(
            memory_BSD, batch_first=True, total_length=input_ids.shape[1]
        )
        first = torch.tanh(self.bridge(torch.cat([hidden[-2], hidden[-1]], dim=1))).chunk(
            2 * len(self.cells), dim=1
        )
        states = list(zip(first[: len(self.cells)], first[len(self.cells) :], strict=True))
        key_BSD, fed_BD = self.key(memory_BSD), torch.zeros_like(first[0])
        vectors = []
        for embedded_BD in self.dropout(self.embedding(decoder_input_ids)).unbind(dim=1):
            top_BD = torch.cat([embedded_BD, fed_BD], dim=1)
            for number, cell in enumerate(self.cells):
                states[number] = cell(self.dropout(top_BD) if number else top_BD, states[number])
                top_BD = states[number][0]
            scores_BS = (
                (key_BSD @ top_BD[:, :, None])
                .squeeze(2)
                .masked_fill(attention_mask == 0, float("-inf"))
            )
            context_BD = (scores_BS.softmax(dim=1)[:, None] @ memory_BSD).squeeze(1)
            fed_BD = self.dropout(torch.tanh(self.readout(torch.cat([top_BD, context_BD], dim=1))))
            vectors.append(fed_BD)
        logits = F.linear(torch.stack(vectors, dim=1), self.embedding.weight, self.bias)
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, label_smoothing=0.1
        )
        return {"loss": loss}


def as_they_take_it(batch: PairBatch) -> dict[str, Tensor]:
    """One of our batches under Hugging Face's names."""
    S = batch.source_BS.shape[1]
    return {
        "input_ids": batch.source_BS,
        "attention_mask": (torch.arange(S) < batch.source_lengths_B[:, None]).long(),
        "decoder_input_ids": batch.inputs_BT,
        "labels": batch.labels_BT.masked_fill(batch.labels_BT == PAD, -100),
    }
