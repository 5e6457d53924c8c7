"""Runs as processes of their own: stopped by Ctrl-C, killed, taken up again, and spread over two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from disc_data import SMALL

from segtune.core.errors import NOT_CROWNED
from segtune.core.files import read_json

FEW_MODES = ("--set", "validation.modes=[box]", "--set", "evaluation.modes=[click,box]")
PATIENCE_SECONDS = 120


def command(*words, launcher=()):
    return [sys.executable, *launcher, "-m", "segtune", *(str(word) for word in words)]


def launch(words, log):
    """Start a command in its own process group, its output in a file."""
    quiet = dict(os.environ, OMP_NUM_THREADS="1")
    with log.open("w") as out:
        return subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=quiet, start_new_session=True)


def lines(folder):
    """The log of a run; its last line may still be under way."""
    path = folder / "log.jsonl"
    written = path.read_text().splitlines(True) if path.exists() else []
    return [json.loads(line) for line in written if line.endswith("\n")]


def wait_for(process, log, is_true):
    """Wait until something holds of a running process."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def finish(process, log):
    """Wait for the end of a process and return its exit code."""
    try:
        return process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(log.read_text())


def steps(folder):
    """The training steps in a run's log, without anything that tells the time."""
    return [line for line in lines(folder) if line["event"] == "step"]


def validations(folder):
    """What was scored after each epoch, the pretrained model first."""
    return [line["validation"] for line in lines(folder) if line["event"] == "epoch"]


def test_ctrl_c_ends_a_live_run_with_the_best_so_far(discs, micro, tmp_path, segtune):
    """One SIGINT in mid-epoch: exit code 130, a model, a matrix and a report; --resume then goes on to the end."""
    folder, log = tmp_path / "run", tmp_path / "log.txt"
    words = ("fit", discs, "--out", folder, "--model", micro, "--train", "full", "--epochs", "60", *SMALL, *FEW_MODES)
    process = launch(command(*words), log)
    wait_for(process, log, lambda: any(line["event"] == "epoch" and line["epoch"] == 2 for line in lines(folder)))
    process.send_signal(signal.SIGINT)
    assert finish(process, log) == 130, log.read_text()
    end = lines(folder)[-1]
    assert end["event"] == "end"
    assert end["stopped"] is True
    assert 2 <= end["epoch"] < 60
    for name in ("model/model.safetensors", "metrics.json", "report.html", "checkpoints"):
        assert (folder / name).exists(), name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["crowned"] is (end["best_epoch"] > 0)

    # Taken up again, it goes on after the very step it had reached.
    reached = steps(folder)[-1]["step"]
    process = launch(command("fit", discs, "--out", folder, "--resume"), tmp_path / "again.txt")
    wait_for(process, tmp_path / "again.txt", lambda: steps(folder)[-1]["step"] > reached)
    process.send_signal(signal.SIGINT)
    assert finish(process, tmp_path / "again.txt") == 130
    assert [line["step"] for line in steps(folder)] == list(range(1, len(steps(folder)) + 1))


@pytest.mark.parametrize(("scope", "frozen"), [("decoder+prompt", True), ("late:1", False)])
def test_the_scopes_train_what_they_name(discs, micro, tmp_path, answer, scope, frozen):
    """--train decoder+prompt leaves the encoder as it was, late:1 changes the last stage alone; both fill the cache."""
    import torch
    from safetensors.torch import load_file

    run, cache = tmp_path / "run", tmp_path / "cache"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", scope, "--epochs", "10", *SMALL, *FEW_MODES)
    code, found = answer(*words, "--set", "lr=1e-2", "--set", f"cache.folder={cache}")
    assert code == 0, found
    base, tuned = load_file(micro / "model.safetensors"), load_file(run / "model" / "model.safetensors")
    changed = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert any(name.startswith("mask_decoder") for name in changed)
    in_encoder = {name for name in changed if name.startswith("vision_encoder")}
    kept = json.loads((run / "run.json").read_text())["cache"]
    entries = [path for path in cache.rglob("*") if path.is_file()]
    # Four views of each training image, and the validation's and the test's as they are.
    assert len(entries) * kept["bytes_per_view"] > kept["bytes"] > 0
    assert kept["stages"] == (None if frozen else 3)
    if frozen:
        assert not in_encoder
        assert any(name.startswith("prompt_encoder") for name in changed)
    else:
        blocks = {int(name.split(".")[2]) for name in in_encoder if name.startswith("vision_encoder.layers.")}
        total = {int(name.split(".")[2]) for name in base if name.startswith("vision_encoder.layers.")}
        assert blocks == {max(total)}
        assert not any(name.startswith("vision_encoder.patch_embed") for name in in_encoder)


def test_late_layers_without_the_cache(discs, micro, tmp_path, answer):
    """cache.prefix=false encodes every image anew and writes no cache; figures from kept activations are nearly its."""
    words = ("fit", discs, "--model", micro, "--train", "late:1", "--epochs", "1", *SMALL, *FEW_MODES)
    scores = []
    for prefix in ("false", "true"):
        run, cache = tmp_path / prefix, tmp_path / f"{prefix}_cache"
        given = (*words, "--out", run, "--set", f"cache.prefix={prefix}", "--set", f"cache.folder={cache}")
        code, found = answer(*given)
        assert code in (0, NOT_CROWNED), found
        assert cache.exists() == (prefix == "true")
        rows = json.loads((run / "metrics.json").read_text())["rows"]
        scores.append({(row["mode"], row["metric"]): row["mean"] for row in rows if row["model"] == "pretrained"})
    # The pretrained model is the same in both: only the rounding of what is kept lies between.
    assert scores[0].keys() == scores[1].keys()
    assert all(scores[1][name] == pytest.approx(mean, abs=0.01) for name, mean in scores[0].items() if name[1] == "iou")


def test_two_processes_are_one_run_and_resume_after_a_kill(discs, micro, tmp_path):
    """Two processes train as one does within 1e-5; killed in mid-epoch they resume to the same steps."""
    shared = (
        "fit", discs, "--model", micro, "--train", "full", "--epochs", "3", *SMALL, *FEW_MODES, "--set",
        "training.checkpoint_steps=2", "--set", "training.optimizer.batch=4",
        "--set", "training.optimizer.micro_batch=1",
    )  # fmt: skip
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    alone = launch(command(*shared, "--out", tmp_path / "alone"), tmp_path / "alone.txt")
    code = finish(alone, tmp_path / "alone.txt")
    assert code in (0, 3), (tmp_path / "alone.txt").read_text()

    folder, log = tmp_path / "two", tmp_path / "two.txt"
    together = launch(command(*shared, "--out", folder, launcher=torchrun), log)
    wait_for(together, log, lambda: len(steps(folder)) >= 8)
    os.killpg(together.pid, signal.SIGKILL)
    together.wait()
    again = launch(command("fit", discs, "--out", folder, "--resume", launcher=torchrun), tmp_path / "again.txt")
    # The launcher ends with 1 where the command ends with 3: trained, but nothing beat the base.
    assert finish(again, tmp_path / "again.txt") in (0, 1), (tmp_path / "again.txt").read_text()

    one, two = steps(tmp_path / "alone"), steps(folder)
    assert [line["step"] for line in two] == [line["step"] for line in one]
    assert [line["objects"] for line in two] == [line["objects"] for line in one]
    assert [line["loss"] for line in two[:4]] == pytest.approx([line["loss"] for line in one[:4]], abs=1e-5)
    # Before the first step both are the pretrained model, and who validates which image changes nothing.
    assert validations(folder)[0] == validations(tmp_path / "alone")[0]
    # And so who scores which test image at the end: of the pretrained model every figure is the same.
    tables = [read_json(run / "metrics.json") for run in (tmp_path / "alone", folder)]
    figures = [[row for row in table["rows"] if row["model"] != "tuned"] for table in tables]
    assert figures[0] == figures[1]
    assert len(figures[0]) > 8
    assert tables[0]["general"]["images"] == tables[1]["general"]["images"]
    assert (folder / "per_object.csv").read_text().count("pretrained") > 4
    assert (folder / "report.html").exists()


MEETINGS = """
import sys, time, torch
from pathlib import Path
from segtune.training.processes import joined
totals = []
for number in range(3):
    with joined() as processes:
        time.sleep(processes.is_first * number % 2)  # the others wait at the next meeting, or at this one
        total = processes.sum(torch.tensor(processes.rank + 1))
    totals.append(int(total))
Path(sys.argv[1], str(processes.rank)).write_text(str(totals))  # two that print at once mix their lines
"""


def test_processes_meet_again_and_again(tmp_path):
    """Several trainings in one Python process under torchrun: each group of processes finds its own, however late."""
    (tmp_path / "meetings.py").write_text(MEETINGS)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = launch([sys.executable, *launcher, str(tmp_path / "meetings.py"), str(tmp_path)], tmp_path / "log")
    assert finish(process, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["[3, 3, 3]"] * 2
