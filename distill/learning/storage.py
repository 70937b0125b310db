"""A full disk as one line, whichever library met it first.

In: a block that writes. Out: nothing. Refused: writes that the disk did not take (Unavailable).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from distill.core.errors import Unavailable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# torch.save and safetensors raise errors of their own, which carry no errno.
TOLD = ("PytorchStreamWriter failed", "unexpected pos", "No space left", "File too large")


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is a disk that takes no more."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    if isinstance(error, RuntimeError | SafetensorError) and any(t in str(error) for t in TOLD):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and is_full(cause)


@contextmanager
def plain_disk_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise Unavailable(
            f"no space is left for {where}; free some, then continue with the same command "
            "and --resume"
        ) from error
