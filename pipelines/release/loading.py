"""Models of a release, loaded once it is sure that they are what was released."""

from pathlib import Path, PurePosixPath

from pipelines.exports.folders import DESCRIPTION_FILE, load_encoder_decoder
from pipelines.frame.errors import DataError, broken_rule
from pipelines.models.protocol.model import Seq2SeqModel
from pipelines.release.checking import read_sums, verify


def load_released(folder: Path, name: str, public_key: Path | None) -> Seq2SeqModel:
    """An encoder-decoder of a release, in evaluation mode.

    Args:
        folder: of the release, or a place's link to it.
        name: of the model.
        public_key: of who is trusted; None: checksums alone are looked at.

    Raises:
        CheckFailed: a file is not as it was released.
        DataError: there is no such release or model.
        CheckpointError: the model cannot be read.
    """
    folder = folder.resolve()  # the link may turn to another release meanwhile
    verify(folder, public_key)
    return load_verified(folder, name)


def load_verified(folder: Path, name: str) -> Seq2SeqModel:
    """The same, of a release that was verified; of what its checksums name and nothing else.

    Raises:
        DataError: there is no such model.
        CheckpointError: it cannot be read.
    """
    files = (PurePosixPath(file) for file in read_sums(folder))
    there = sorted(file.parent.name for file in files if file.name == DESCRIPTION_FILE)
    if name not in there:
        rule = f"be one of {', '.join(there)}" if there else "be one of those that translate: none"
        raise DataError(broken_rule(str(folder), "model", name, rule, "correct it"))
    return load_encoder_decoder(folder / name)
