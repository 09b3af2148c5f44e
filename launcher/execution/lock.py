"""Locks run directories, so that only one launcher at a time trains a run.

The training process inherits the lock, which therefore holds after the launcher is killed. filelock cannot do
that, because it does not expose the file descriptor.
"""

import errno
import sys
import threading
from typing import TextIO

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

# Errors of flock on a file system without locks.
UNABLE = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

_warned = threading.Lock()  # taken by the first warning


def take(file: TextIO) -> bool:
    """Lock a file; return False if another process holds the lock.

    The lock holds until the file is closed here and in all processes that inherit it. On a file system without locks
    the result is True, with one warning per program.
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
