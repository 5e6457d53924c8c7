"""The allocator's setting: harmless, wherever it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from segtune.models import allocator


def test_it_agrees_or_says_so() -> None:
    """In a process of its own the call ends well, twice, and the process still gets its memory."""
    code = (
        "from segtune.models.allocator import keep_large_blocks as keep;"
        "first, second = keep(), keep();"
        "assert isinstance(first, bool) and first == second;"
        "assert len(bytearray(1 << 27)) == 1 << 27"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    """Where there is no glibc nothing is called."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("called"))
    assert not allocator.keep_large_blocks()


def test_a_c_library_without_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other C libraries for Linux have no mallopt."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not allocator.keep_large_blocks()
