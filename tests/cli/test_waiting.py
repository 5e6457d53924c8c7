"""How threads wait for each other under the command line."""

from __future__ import annotations

import os

import pytest

from segtune.cli import main


@pytest.mark.parametrize(("said", "found"), [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_told_otherwise(monkeypatch, said, found):
    """OpenMP reads it when torch is loaded, which no command has done yet."""
    monkeypatch.setenv("OMP_WAIT_POLICY", said or "")
    if said is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["--version"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == found
