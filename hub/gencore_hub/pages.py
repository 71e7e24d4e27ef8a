"""Memory that is about to be filled for the first time, in large pages."""

from __future__ import annotations

import ctypes
import mmap
import sys

HUGE_PAGE = 2**21


def ask_for_huge_pages(address: int, size: int) -> None:
    """Ask Linux to back this memory, not yet written to, with pages of 2 MB; a wish that it may ignore.

    Half of the time of reading a file into new memory is the kernel handing out pages of 4 kB: 480 MB took 171 ms, and
    41 ms in large pages. Only whole large pages inside the memory are meant; elsewhere than on Linux nothing happens.
    """
    start = -(-address // HUGE_PAGE) * HUGE_PAGE
    length = (address + size - start) // HUGE_PAGE * HUGE_PAGE
    if length > 0 and sys.platform == "linux" and hasattr(mmap, "MADV_HUGEPAGE"):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)
