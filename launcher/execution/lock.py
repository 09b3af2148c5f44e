"""A run's lock: one launcher at a time trains in its folder."""

import errno
import sys
import threading
from typing import TextIO

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

# What flock says where a file system locks no files.
UNABLE = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

_warned = threading.Lock()  # taken by the first who warns


def take(file: TextIO) -> bool:
    """Whether nobody else has it: until it is closed, here and by the programs that inherit it.

    Where files cannot be locked it is taken too, with one warning a program: two launchers at once are up to the user.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        if _warned.acquire(blocking=False):
            print(
                f"{file.name} cannot be locked ({error.strerror}): see to it yourself that no other launcher trains "
                "the same runs.",
                file=sys.stderr,
            )
    return True
