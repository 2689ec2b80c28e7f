"""Encoder and decoder: embeddings and a stack of blocks.

Shapes: B sentences, N hypotheses, S source length, T target length, D width, H heads, K head width.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from pipelines.layers.transformer.attention import padding_mask
from pipelines.layers.transformer.blocks import BlockShape, DecoderBlock, EncoderBlock
from pipelines.layers.transformer.embeddings import Embeddings

Cache = dict[str, Tensor]


class Encoder(nn.Module):
    """Source tokens to memory; a pre-norm stack closes with a LayerNorm."""

    def __init__(self, embeddings: Embeddings, shape: BlockShape, num_layers: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(num_layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-12) if shape.norm == "pre" else nn.Identity()

    def forward(self, source_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Memory [B, S, D] and its mask [B, 1, 1, S]."""
        mask_B11S = padding_mask(lengths_B, source_BS.shape[1])
        x_BSD = self.embeddings(source_BS)
        for block in self.blocks:
            x_BSD = block(x_BSD, mask_B11S)
        return self.norm(x_BSD), mask_B11S


class Decoder(nn.Module):
    """Target tokens and memory to hidden states, all at once or one at a time."""

    def __init__(self, embeddings: Embeddings, shape: BlockShape, num_layers: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = nn.ModuleList(DecoderBlock(shape) for _ in range(num_layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-12) if shape.norm == "pre" else nn.Identity()

    def forward(self, inputs_BT: Tensor, memory_BSD: Tensor, mask_B11S: Tensor) -> Tensor:
        """Teacher forcing: [B, T, D]."""
        x_BTD = self.embeddings(inputs_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, memory_BSD, mask_B11S)
        return self.norm(x_BTD)

    def start(self, memory_BSD: Tensor, mask_B11S: Tensor) -> Cache:
        """Empty self-attention caches, and the memory's keys and values, made once."""
        state: Cache = {"mask": mask_B11S}
        for number, block in enumerate(self._decoder_blocks()):
            state[f"memory_key.{number}"], state[f"memory_value.{number}"] = block.cross_attention.keys_and_values(
                memory_BSD
            )
            empty_BH0K = state[f"memory_key.{number}"][:, :, :0]
            state[f"key.{number}"] = state[f"value.{number}"] = empty_BH0K
        return state

    def step(self, tokens_N: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """One position after those in the caches: [N, D] and the longer caches."""
        state = dict(state)
        x_N1D = self.embeddings(tokens_N[:, None], first_position=state["key.0"].shape[2])
        for number, block in enumerate(self._decoder_blocks()):
            cache = state[f"key.{number}"], state[f"value.{number}"]
            memory = state[f"memory_key.{number}"], state[f"memory_value.{number}"]
            x_N1D, (state[f"key.{number}"], state[f"value.{number}"]) = block.step(x_N1D, cache, memory, state["mask"])
        return self.norm(x_N1D)[:, 0], state

    def _decoder_blocks(self) -> Iterator[DecoderBlock]:
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            yield block
