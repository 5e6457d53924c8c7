"""The script that makes nano's weights: which of its stages it starts, takes up again, and leaves as they are."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import pytest


@pytest.fixture
def commands(checkout, monkeypatch):
    """Run a stage in a folder without its processes; return the commands that it would have started."""
    spec = importlib.util.spec_from_file_location("pretrain_nano", checkout / "tools" / "pretrain_nano.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    started = []
    monkeypatch.setattr(module.subprocess, "run", lambda command, check: started.append(command))

    def run(out: Path) -> list[list[str]]:
        module.run_stage(Namespace(processes=1, seed=0, set=[]), out, {"steps": 20})
        return started

    return run


def _leave(out, steps):
    """What a stage of 20 steps leaves that was ended, or stopped by Ctrl-C, after so many."""
    (out / "model").mkdir(parents=True)
    (out / "pretraining.yaml").touch()
    (out / "model" / "segtune.json").write_text(json.dumps({"steps": steps, "settings": {"steps": 20}}))


def test_a_new_stage_is_started(commands, tmp_path):
    """With its settings, and not as one to be taken up."""
    (command,) = commands(tmp_path / "small")
    assert "steps=20" in command
    assert "--resume" not in command


def test_a_finished_stage_stays_as_it_is(commands, tmp_path):
    """It has the steps that it was started with."""
    _leave(tmp_path / "small", 20)
    assert commands(tmp_path / "small") == []


def test_a_stage_stopped_by_ctrl_c_is_taken_up_again(commands, tmp_path):
    """It has left a model, yet not all of its steps."""
    _leave(tmp_path / "small", 7)
    (command,) = commands(tmp_path / "small")
    assert "--resume" in command
