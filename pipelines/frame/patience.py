"""Trying again what needs a server."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from pipelines.frame.errors import CheckFailed, DataError

T = TypeVar("T")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
# Of this machine, whatever a server does.
_OWN = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.ELOOP,
}  # fmt: skip
_CLIENTS = ("botocore", "aiobotocore", "aiohttp")  # whose errors are none of the system


def patiently(act: Callable[[], T], what: str, patience_s: float) -> T:
    """Do something that needs a server, again and again for a while: it may be away, a certificate
    or a key may have ended and be renewed. Whatever is read anew each time is to be read in it.

    Args:
        act: does it, and goes on where it stood.
        what: it is, for people.
        patience_s: seconds after which no new try begins.

    Raises:
        CheckFailed: the last try failed too; it may be called again.
        DataError: this machine is in the way: a full disk, a file where a folder should be.
    """
    ends, wait = time.monotonic() + patience_s, _FIRST_WAIT_S
    while True:
        try:
            return act()
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OWN:
                raise DataError(f"{what} must be possible, but {error}; mend that first") from None
            if not isinstance(error, OSError) and not type(error).__module__.startswith(_CLIENTS):
                raise  # nothing that time mends
            reason = f"{type(error).__name__}: {error}"
        if time.monotonic() + wait > ends:
            raise CheckFailed(
                f"{what} must be possible, but {reason}; nothing is lost: mend it and do it again"
            )
        print(f"{what}: {reason}; again in {wait:.0f} s", flush=True)
        time.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_S)
