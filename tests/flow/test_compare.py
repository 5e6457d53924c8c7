"""`segtune compare` through the real command line: a grid of fits, killed, stopped, gone on with, and told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from disc_data import SMALL, write_discs

PATIENCE_SECONDS = 180
FEW = (*SMALL, "--set", "validation.modes=[box]", "--set", "evaluation.modes=[box]")


@pytest.fixture(scope="module")
def few_discs(tmp_path_factory):
    """Fourteen images: a fit of a second or two."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 14)


def lines(folder):
    """The whole lines of a run's log."""
    path = folder / "log.jsonl"
    written = path.read_text().splitlines(True) if path.exists() else []
    return [json.loads(line) for line in written if line.endswith("\n")]


def interrupt(words, out, when, how):
    """Launch a command, send it a signal as soon as something holds, and return its exit code."""
    with out.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "segtune", *map(str, words)], stdout=log, stderr=subprocess.STDOUT,
            env=dict(os.environ, OMP_NUM_THREADS="1"), start_new_session=True,
        )  # fmt: skip
    end = time.monotonic() + PATIENCE_SECONDS
    while not when():
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < end, out.read_text()
        time.sleep(0.02)
    process.send_signal(how)
    return process.wait(PATIENCE_SECONDS)


def test_a_grid_killed_and_stopped_goes_on_and_is_told(few_discs, micro, tmp_path, answer):
    """Two losses by two ways to train: killed in the second fit, stopped in the third, then done; each step once.

    Slow for a test: four real fits, and two processes started and cut off.
    """
    out = tmp_path / "grid"
    words = (
        "compare", few_discs, "--vary", "loss=dice,bce+dice", "--vary", "train=full,decoder", "--seeds", "1",
        "--epochs", "4", "--model", micro, "--out", out, *FEW,
    )  # fmt: skip
    first, second, third = (
        out / name / "seed-0"
        for name in ("loss=dice,train=full", "loss=dice,train=decoder", "loss=bce+dice,train=full")
    )
    code = interrupt(words, tmp_path / "1.txt", lambda: len(lines(second)) > 4, signal.SIGKILL)
    assert code == -signal.SIGKILL
    finished = (first / "run.json").read_bytes()
    assert not (second / "metrics.json").exists()
    assert interrupt(words, tmp_path / "2.txt", lambda: len(lines(third)) > 4, signal.SIGINT) == 130
    told = (tmp_path / "2.txt").read_text()
    assert "Stopped before the end" in told
    assert (out / "comparison.html").is_file()

    code, facts = answer(*words)
    assert code in (0, 3)
    assert facts["asked"] == len(facts["done"]) == 4
    assert (first / "run.json").read_bytes() == finished
    for folder in (first, second, third):
        steps = [line["step"] for line in lines(folder) if line["event"] == "step"]
        assert steps == list(range(1, len(steps) + 1))
        assert max(line["epoch"] for line in lines(folder) if line["event"] == "epoch") == 4

    # One file: nothing is asked of other hosts, and the fits' own reports are there.
    page = (out / "comparison.html").read_text()
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    links = re.findall(r'href="([^"]*report\.html)"', page)
    assert len(links) == 4
    assert all((out / link.replace("%3D", "=").replace("%2C", ",").replace("%2B", "+")).is_file() for link in links)
    assert (out / "comparison.svg").read_text().startswith("<svg")
    table = (out / "comparison.md").read_text()
    assert table.count("loss=bce+dice, train=decoder") >= 2
    assert set(facts["standings"][0]["setting"]) == {"loss", "train"}


def test_what_cannot_be_compared_is_refused(few_discs, micro, tmp_path, segtune):
    """An unknown value ends the command before any fit begins; one that a model does not have fails alone."""
    words = ("compare", few_discs, "--model", micro, "--out", tmp_path / "grid", "--seeds", "1", "--epochs", "1", *FEW)
    code, _, err = segtune(*words, "--vary", "loss=dise")
    assert code == 2
    assert "Did you mean 'dice'" in err
    assert not (tmp_path / "grid").exists()

    code, out, err = segtune(*words, "--vary", "train=late:99,decoder")
    assert code == 1
    assert "1 of 2 fits failed" in out
    assert "Failed:" in err
    assert "late:99" in (tmp_path / "grid" / "comparison.md").read_text()
    code, _, err = segtune(*words, "--vary", "train=decoder", "--set", "lr=1e-5")
    assert code == 2
    assert "nothing was touched" in err
