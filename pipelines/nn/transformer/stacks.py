"""Encoder and decoder: embeddings and a stack of blocks.

Shapes: B sentences, N hypotheses, S source length, T target length, D width, H heads, K head width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.nn.rows import Row, Within
from pipelines.nn.transformer.attention import Mask, padding_mask
from pipelines.nn.transformer.blocks import BlockShape, DecoderBlock, EncoderBlock
from pipelines.nn.transformer.cache import SHORTEST, take_slots
from pipelines.nn.transformer.embeddings import Embeddings
from pipelines.nn.transformer.norm import LayerNorm


class Encoder(nn.Module):
    """Source tokens to memory; a pre-norm stack closes with a LayerNorm."""

    def __init__(self, embeddings: Embeddings, shape: BlockShape, num_layers: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(num_layers))
        self.norm = LayerNorm(shape.width) if shape.norm == "pre" else nn.Identity()

    def forward(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Memory [B, S, D] and its mask [B, 1, 1, S]."""
        mask_B11S = padding_mask(lengths_B, source_BS.shape[1])
        return self._through(self.embeddings(source_BS), mask_B11S), mask_B11S

    def unpadded(self, source: Row) -> Tensor:
        """Memory [1, N, D] of sources without padding."""
        x_1ND = self.embeddings(source.tokens_1N, places_BT=source.places_1N)
        return self._through(x_1ND, Within(source.bounds, source.bounds))

    def _through(self, x_BSD: Tensor, mask: Mask) -> Tensor:
        for block in self.blocks:
            x_BSD = block(x_BSD, mask)
        return self.norm(x_BSD)


class Decoder(nn.Module):
    """Target tokens and memory to hidden states, all at once or one at a time.

    Attributes:
        OF_BEAM, OF_SENTENCE, OF_STEP: prefixes of the state's names, by what the rows of a tensor
            belong to.
    """

    OF_BEAM = ("ancestors", "attention")
    OF_SENTENCE = ("memory_key", "memory_value", "mask", "key", "value")
    OF_STEP = ("position",)

    def __init__(self, embeddings: Embeddings, shape: BlockShape, num_layers: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(DecoderBlock(shape) for _ in range(num_layers))
        self.norm = LayerNorm(shape.width) if shape.norm == "pre" else nn.Identity()

    def forward(self, inputs_BT: Tensor, memory_BSD: Tensor, mask_B11S: Tensor) -> Tensor:
        """Teacher forcing: [B, T, D]."""
        x_BTD = self.embeddings(inputs_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, memory_BSD, mask_B11S)
        return self.norm(x_BTD)

    def unpadded(self, inputs: Row, memory_1ND: Tensor, source: Row) -> Tensor:
        """Teacher forcing of targets without padding: [1, M, D]."""
        own, across = (Within(inputs.bounds, keys.bounds) for keys in (inputs, source))
        x_1MD = self.embeddings(inputs.tokens_1N, places_BT=inputs.places_1N)
        for block in self.blocks:
            x_1MD = block(x_1MD, memory_1ND, across, own)
        return self.norm(x_1MD)

    def start(self, memory_BSD: Tensor, mask_B11S: Tensor) -> dict[str, Tensor]:
        """Empty tables for self-attention (see `cache`), and the memory's keys and values,
        made once.
        """
        attention_BS = memory_BSD.new_zeros(memory_BSD.shape[:2])
        longer = max(SHORTEST - memory_BSD.shape[1], -memory_BSD.shape[1] % 8)
        memory_BSD, mask_B11S = F.pad(memory_BSD, (0, 0, 0, longer)), F.pad(mask_B11S, (0, longer))
        state = {
            "mask": mask_B11S,
            "ancestors": mask_B11S[:, 0, 0, :0],
            "position": torch.tensor(0),
        }
        for number, block in enumerate(self._decoder_blocks()):
            key_BHSK, value_BHSK = block.cross_attention.keys_and_values(memory_BSD)
            state[f"memory_key.{number}"] = key_BHSK.transpose(
                2, 3
            ).contiguous()  # twice as fast a product
            state[f"memory_value.{number}"] = value_BHSK.contiguous()
            state[f"key.{number}"] = state[f"value.{number}"] = key_BHSK[:, :, :0]
        return {**state, "attention": attention_BS}

    def step(self, tokens_N: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One position more: [N, D] and the next state,
        whose tables may be those of this one, written on.

        ``attention`` [N, S] is the last layer's to the source, the mean of its heads.
        """
        tables = {
            name: tensor for name, tensor in state.items() if name.startswith(("key.", "value."))
        }
        tables, ancestors_NP, places = take_slots(tables, state["ancestors"])
        x_ND = self.embeddings(tokens_N[:, None], first_position=int(state["position"]))[:, 0]
        itself_B1WP = _far(
            ancestors_NP.view(len(state["mask"]), 1, -1, ancestors_NP.shape[1]), x_ND.dtype
        )
        source_B11S = _far(state["mask"], x_ND.dtype)
        for number, block in enumerate(self._decoder_blocks()):
            table = tables[f"key.{number}"], tables[f"value.{number}"]
            memory = state[f"memory_key.{number}"].transpose(2, 3), state[f"memory_value.{number}"]
            x_ND, weight_BHWS = block.step(x_ND, table, places, itself_B1WP, memory, source_B11S)
        after = {"ancestors": ancestors_NP, "position": state["position"] + 1}
        attention_NS = weight_BHWS[..., : state["attention"].shape[1]].mean(dim=1).flatten(0, 1)
        return self.norm(x_ND), {**state, **tables, **after, "attention": attention_NS}

    def _decoder_blocks(self) -> Iterator[DecoderBlock]:
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            yield block


def _far(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: -∞ where the mask is False."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, float("-inf")
    )
