"""Schemas of the sizes that Transformers have."""

from pydantic import Field, model_validator

from pipelines.frame.params_reader import Section


class TransformerShape(Section):
    """Widths, heads and positions of a stack.

    Attributes:
        dropout: of embeddings and of what each sub-layer adds.
        attention_dropout: of attention's weights.
    """

    width: int = Field(ge=2, multiple_of=2)
    num_heads: int = Field(ge=1)
    feed_forward_width: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    attention_dropout: float = Field(ge=0, lt=1)
    max_positions: int = Field(ge=8)

    @model_validator(mode="after")
    def _heads_divide(self) -> "TransformerShape":
        if self.width % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide width ({self.width})")
        return self


class BertModelParams(TransformerShape):
    """Sizes of the network and how its weights begin."""

    num_layers: int = Field(ge=1)
    initializer_range: float = Field(gt=0)
    vocab_pad_multiple: int = Field(ge=1)
