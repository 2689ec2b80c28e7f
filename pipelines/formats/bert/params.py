"""The sizes of a BERT: section ``bert.model``, and what a checkpoint's config.json says of them."""

from pydantic import Field

from pipelines.nn.transformer.params import TransformerShape


class BertModelParams(TransformerShape):
    """Sizes of the network and how its weights begin."""

    num_layers: int = Field(ge=1)
    initializer_range: float = Field(gt=0)
    vocab_pad_multiple: int = Field(ge=1)
