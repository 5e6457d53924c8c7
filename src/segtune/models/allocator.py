"""Tell the C library to keep large blocks of memory: a large encoder on the CPU runs up to twice as fast for it."""

from __future__ import annotations

import ctypes
import sys

# Numbers from glibc's malloc.h, whose macros ctypes cannot see.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3

_LARGEST = (1 << 31) - 1
_PAD = 256 << 20


def keep_large_blocks() -> bool:
    """Ask glibc to serve large blocks from its heap and keep freed memory, for the rest of the process.

    By default every block above 32 MiB is mapped anew and cleared page by page, for each layer of each image. The
    price is that memory once used is not given back. Where there is no glibc nothing happens.

    Returns:
        Whether the C library agreed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _PAD))
    # A list, so that each is asked for even where one before it is refused.
    agreed = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings]
    return all(agreed)
