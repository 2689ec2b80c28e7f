"""Starting an encoder-decoder from a pretrained BERT."""

from pathlib import Path

from pipelines.formats.bert.loading import load_pretrained
from pipelines.formats.vocabulary.files import read_vocabulary
from pipelines.frame.errors import CheckpointError
from pipelines.frame.files import digest
from pipelines.models.protocol.model import Seq2SeqModel


def start_from_bert(model: Seq2SeqModel, folder: Path, tokenizer: Path) -> int:
    """Copy every weight the model shares with a BERT in the Hugging Face format;
    see `load_pretrained`.

    Args:
        model: of the checkpoint's sizes.
        folder: ``model.safetensors`` and ``vocab.txt``.
        tokenizer: folder of the model's vocabulary, which must be the checkpoint's, but for tokens
            added at its end: their rows stay random.

    Returns:
        How many parameters (numbers) were copied.

    Raises:
        CheckpointError: the vocabularies differ, the model shares no weight, or the checkpoint
            lacks a tensor or has another shape.
    """
    ours, theirs = read_vocabulary(tokenizer), read_vocabulary(folder)
    if ours[: len(theirs)] != theirs:
        raise CheckpointError(
            f"{folder}/vocab.txt: its vocabulary ({digest(theirs)[:12]}) must be {tokenizer}'s "
            f"({digest(ours)[:12]}), but for tokens added at its end; run dvc repro bert, or set "
            "tokenizer.vocabulary_from to this BERT"
        )
    if len(ours) != (size := len(model.output.weight)):
        rule = f"{tokenizer}: its vocabulary ({len(ours)}) must be the model's ({size})"
        raise CheckpointError(f"{rule}; run dvc repro shards")
    names = model.bert_names()
    if not names:
        raise CheckpointError(
            f"{type(model).__module__}: cannot start from a BERT; set starts_from: data/shards"
        )
    return load_pretrained(model, folder, tokenizer, names)
