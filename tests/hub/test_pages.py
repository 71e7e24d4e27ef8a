"""Large pages are asked for whole and inside the memory, and never where there is none."""

from __future__ import annotations

import ctypes
import mmap
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencore_hub import pages


class Recorded:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []

    def madvise(self, start: ctypes.c_void_p, length: ctypes.c_size_t, advice: int) -> None:
        self.calls.append((start.value or 0, length.value, advice))


@pytest.mark.skipif(sys.platform != "linux", reason="a wish of Linux")
@given(st.integers(1, 2**40), st.integers(0, 2**25))
def test_whole_pages_inside_the_memory(address: int, size: int) -> None:
    libc = Recorded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctypes, "CDLL", lambda name: libc)
        pages.ask_for_huge_pages(address, size)
    for start, length, advice in libc.calls:
        assert address <= start <= start + length <= address + size
        assert start % pages.HUGE_PAGE == length % pages.HUGE_PAGE == 0 < length
        assert advice == mmap.MADV_HUGEPAGE
    assert bool(libc.calls) == (size >= pages.HUGE_PAGE and size - (-address % pages.HUGE_PAGE) >= pages.HUGE_PAGE)


def test_real_memory_is_left_as_it_is() -> None:
    buffer = bytearray(b"7" * (5 * pages.HUGE_PAGE))
    pages.ask_for_huge_pages(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), len(buffer))
    assert buffer == b"7" * len(buffer)
