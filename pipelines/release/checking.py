"""Whether a release is as it was made: checksums, and the signature of who made it.

``SHA256SUMS`` names every other file (``sha256sum --check`` reads it); ``model.sig`` is the
signature of all of them, by `model_signing` of the OpenSSF (https://github.com/sigstore/model-transparency)
with a private key of the user's own. A checksum tells an accident; only the signature tells an
attack, and only with a public key that did not come with the release.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.frame.errors import CheckFailed, DataError, broken_rule
from pipelines.frame.files import sha256_of
from pipelines.frame.params_problems import NAME, NAMED

FACTS, SUMS, SIGNATURE = "release.json", "SHA256SUMS", "model.sig"
_NOT_SUMMED = {SUMS, SIGNATURE}
_DIFFERENCES = "Signature mismatch: "  # what the library says before a list of them
_RESERVED = ("current", "history", "incoming")  # files of a place


def checked_name(name: str) -> str:
    """A release's name, which is a folder in every place.

    Raises:
        DataError: it can be none, or a place uses it.
    """
    if not re.fullmatch(NAME, name) or name in _RESERVED:
        rule = f"{NAMED}, and none of {', '.join(_RESERVED)}"
        raise DataError(broken_rule("release", "name", name, rule, "rename it"))
    return name


def require_named(folder: Path, name: str) -> None:
    """Refuse a release under another name than it was made with: a signature holds for both.

    Raises:
        CheckFailed: it has another.
    """
    try:
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != name:
        raise CheckFailed(
            f"{folder}: name ({found!r}) must be {name!r}, as the release says; rename it back"
        )


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
    if not path.is_file():
        raise DataError(f"{folder}: must be a release ({SUMS} is not there); name its folder")
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
    except (OSError, ValueError, TypeError, AttributeError):
        raise _bad_key(key, "private") from None


def _bad_key(path: Path, kind: str) -> DataError:
    reason = "it is of another kind, or has a password" if path.is_file() else "it is not there"
    return DataError(
        f"--key ({path}): must be a {kind} key of an elliptic curve in PEM, but {reason}; "
        "docs/release.md tells how to make one"
    )


def verify(folder: Path, public_key: Path | None) -> str:
    """What is sure of a release, in a sentence.

    Args:
        folder: of it.
        public_key: of who is trusted; None: the signature is not looked at.

    Raises:
        CheckFailed: a file was changed, renamed, added or lost, or it is not signed with that key.
        DataError: the folder is no release, or the key is none.
    """
    verifier = None if public_key is None else _verifier(public_key)
    if problems := list(_differences(folder)):
        some = "; ".join(problems[:5]) + (f"; {len(problems) - 5} more" if problems[5:] else "")
        raise CheckFailed(f"{folder}: must be as it was released, but {some}; fetch it again")
    if public_key is None or verifier is None:
        signed = (folder / SIGNATURE).is_file()
        return "checksums hold; " + (
            "the signature was not looked at (--key)" if signed else "it is not signed"
        )
    _verify_signature(folder, verifier)
    return f"checksums hold, and it is signed with the key of {public_key.name}"


def _verifier(public_key: Path) -> Any:
    """What asks for signatures of this key.

    Raises:
        DataError: it is none.
    """
    _, _, verifying = _library()
    try:
        return verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError, AttributeError):
        raise _bad_key(public_key, "public") from None


def _verify_signature(folder: Path, verifier: Any) -> None:
    if not (folder / SIGNATURE).is_file():
        raise CheckFailed(f"{folder}: must be signed ({SIGNATURE} is not there); do not use it")
    try:
        verifier.verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever the library meets in a file of unknown origin
        reason = _reason(str(error))
    else:
        return
    raise CheckFailed(f"{folder}: must be what was signed, but {reason}; do not use it")


def _reason(told: str) -> str:
    """Why a signature does not hold, without the library's own objects."""
    if told.startswith(_DIFFERENCES + "["):
        try:
            return "; ".join(map(_difference, ast.literal_eval(told.removeprefix(_DIFFERENCES))))
        except (ValueError, SyntaxError, TypeError):  # another version says it otherwise
            return "other files were"
    if not told or "mismatch" in told:
        return "it is signed with another key, or the signature was changed"
    return f"the signature cannot be read ({told.splitlines()[0].rstrip('. ')})"


def _difference(line: str) -> str:
    """A line of the library's list, such as ``Hash mismatch for 'a': Expected 'Digest(...)'...``.

    The list comes as Python prints one: read as such, for which quotation marks it takes depends
    on the bytes of the digests.
    """
    if found := re.match(r"Hash mismatch for '(.+)': Expected ", line):
        return f"{found[1]} changed since"
    kind, _, names = line.partition("': ")
    return f"{names} {'was added' if kind.startswith('Extra') else 'is missing'} since"


def _differences(folder: Path) -> Iterator[str]:
    """What is not as ``SHA256SUMS`` says, file by file."""
    sums, there = read_sums(folder), set(_files(folder))
    for name, sha in sums.items():
        if name not in there:
            yield f"{name} is missing"
        elif (folder / name).is_symlink():
            yield f"{name} is a link"
        elif sha256_of(folder / name) != sha:
            yield f"{name} was changed"
    yield from (f"{name} was added" for name in sorted(there - sums.keys()))


def _files(folder: Path) -> Iterator[str]:
    """All but the two; a link to a folder is one, and so is an empty folder."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        folder_with_files = path.is_dir() and not path.is_symlink() and any(path.iterdir())
        if not folder_with_files and name not in _NOT_SUMMED:
            yield name


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name}: must be installed to sign and verify; pip install -e '.[release]'"
        ) from None
    return hashing, signing, verifying
