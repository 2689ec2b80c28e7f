"""Models of a release, loaded once it is sure that they are what was released."""

from pathlib import Path

from pipelines.exports.folders import DESCRIPTION_FILE, load_encoder_decoder
from pipelines.frame.errors import DataError, broken_rule
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.release.checking import verify


def load_released(folder: Path, name: str, public_key: Path | None) -> Seq2SeqModel:
    """An encoder-decoder of a release, in evaluation mode.

    Args:
        folder: of the release.
        name: of the model.
        public_key: of who is trusted; None: checksums alone are looked at.

    Raises:
        CheckFailed: a file is not as it was released.
        DataError: there is no such release or model.
        CheckpointError: the model cannot be read.
    """
    verify(folder, public_key)
    there = sorted(path.parent.name for path in folder.glob(f"*/{DESCRIPTION_FILE}"))
    if name not in there:
        rule = f"be one of {', '.join(there)}"
        raise DataError(broken_rule(str(folder), "model", name, rule, "correct it"))
    return load_encoder_decoder(folder / name)
