"""Whether a release is as it was made: checksums, and the signature of who made it.

``SHA256SUMS`` names every other file (``sha256sum --check`` reads it); ``model.sig`` is the
signature of all of them, by `model_signing` of the OpenSSF (https://github.com/sigstore/model-transparency)
with a private key of the user's own. A checksum tells an accident; only the signature tells an
attack, and only with a public key that did not come with the release.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipelines.frame.errors import CheckFailed, DataError
from pipelines.frame.files import sha256_of

SUMS, SIGNATURE = "SHA256SUMS", "model.sig"
_NOT_SUMMED = {SUMS, SIGNATURE}


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` of all that lies in a folder."""
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(folder: Path) -> dict[str, str]:
    """File below the folder → sha256.

    Raises:
        DataError: the folder is no release.
    """
    path = folder / SUMS
    try:
        return sums_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: must be that of a release ({error}); name its folder") from None


def sums_of(text: str) -> dict[str, str]:
    """What ``SHA256SUMS`` says.

    Raises:
        ValueError: a line is none of its kind, or names a file outside the folder.
    """
    found = {}
    for line in text.splitlines():
        sha, gap, name = line[:64], line[64:66], line[66:]
        path = PurePosixPath(name)
        if len(sha) != 64 or gap != "  " or not name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"line {line[:80]!r}")
        found[name] = sha
    return found


def sign(folder: Path, key: Path) -> None:
    """``model.sig`` of all other files.

    Raises:
        DataError: the key is none, or `model_signing` is not installed.
    """
    hashing, signing, _ = _library()
    ignored = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
        signer.set_hashing_config(ignored).sign(folder, folder / SIGNATURE)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"--key ({key}): must be a private key of an elliptic curve, without a password "
            f"({error}); openssl ecparam -name prime256v1 -genkey -noout -out {key.name}"
        ) from None


def verify(folder: Path, public_key: Path | None) -> str:
    """What is sure of a release, in a sentence.

    Args:
        folder: of it.
        public_key: of who is trusted; None: the signature is not looked at.

    Raises:
        CheckFailed: a file was changed, renamed, added or lost, or it is not signed with that key.
        DataError: the folder is no release, or the key is none.
    """
    if problems := list(_differences(folder)):
        some = "; ".join(problems[:5]) + (f"; {len(problems) - 5} more" if problems[5:] else "")
        raise CheckFailed(f"{folder}: must be as it was released, but {some}; fetch it again")
    if public_key is None:
        signed = (folder / SIGNATURE).is_file()
        return "checksums hold; " + (
            "the signature was not looked at (--key)" if signed else "it is not signed"
        )
    _verify_signature(folder, public_key)
    return f"checksums hold, and it is signed with the key of {public_key.name}"


def _verify_signature(folder: Path, public_key: Path) -> None:
    from cryptography.exceptions import InvalidSignature

    _, _, verifying = _library()
    if not (folder / SIGNATURE).is_file():
        raise CheckFailed(f"{folder}: must be signed ({SIGNATURE} is not there); do not use it")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"--key ({public_key}): must be a public key of an elliptic curve ({error}); openssl "
            "ec -in PRIVATE -pubout -out PUBLIC"
        ) from None
    try:
        verifier.verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        reason = "it is signed with another key, or the signature was changed"
    except Exception as error:  # whatever the library meets in a file of unknown origin
        reason = (str(error) or type(error).__name__).splitlines()[0]
    else:
        return
    raise CheckFailed(f"{folder}: must be what was signed, but {reason}; do not use it")


def _differences(folder: Path) -> Iterator[str]:
    """What is not as ``SHA256SUMS`` says, file by file."""
    sums, there = read_sums(folder), set(_files(folder))
    for name, sha in sums.items():
        if name not in there:
            yield f"{name} is missing"
        elif sha256_of(folder / name) != sha:
            yield f"{name} was changed"
    yield from (f"{name} was added" for name in sorted(there - sums.keys()))


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in _NOT_SUMMED:
            yield name


def _library() -> tuple:  # type: ignore[type-arg]  # its modules
    try:
        from model_signing import hashing, signing, verifying
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name}: must be installed to sign and verify; pip install -e '.[release]'"
        ) from None
    return hashing, signing, verifying
