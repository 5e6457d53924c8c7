"""`log.jsonl` as curves."""

from __future__ import annotations

import json

from segtune.report.log import read_log


def _write(path, *events, tail=""):
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + tail, encoding="utf-8")
    return read_log(path)


def _epoch(number, iou, *, best=False, loss=None):
    validation = {"click": {"iou": iou, "loss": 1 - iou}, "box": {"iou": iou + 0.2, "loss": 0.8 - iou}}
    train = {"loss": loss} if loss is not None else None
    scores = {"validation": validation, "score": iou + 0.1, "best": best}
    return {"event": "epoch", "epoch": number, "train": train, **scores, "seconds": 2.0}


def test_epochs_become_curves(tmp_path):
    """Validation is told by mode and as a mean of modes; epoch 0 has no training loss."""
    step = {"event": "step", "epoch": 1}
    log = _write(tmp_path / "log.jsonl", _epoch(0, 0.5), step, _epoch(1, 0.6, best=True, loss=0.3))
    assert log.modes == ("click", "box")
    assert log.validated("box", "iou") == ([0, 1], [0.7, 0.8])
    numbers, values = log.mean_validated("loss")
    assert (numbers, [round(value, 6) for value in values]) == ([0, 1], [0.4, 0.3])
    assert log.trained("loss") == ([1], [0.3])
    assert log.best.number == 1
    assert log.seconds == 4.0


def test_without_a_better_epoch_the_pretrained_is_best(tmp_path):
    """Epoch 0 stands for the pretrained model."""
    assert _write(tmp_path / "log.jsonl", _epoch(0, 0.5), _epoch(1, 0.4, loss=0.3)).best.number == 0


def test_a_log_cut_short_is_read_up_to_there(tmp_path):
    """A crash in the middle of a line loses that line alone."""
    log = _write(tmp_path / "log.jsonl", _epoch(0, 0.5), _epoch(1, 0.6, loss=0.2), tail='{"event": "epoch", "epo')
    assert [epoch.number for epoch in log.epochs] == [0, 1]


def test_an_epoch_run_again_counts_once(tmp_path):
    """After a resume the later writing of an epoch holds."""
    log = _write(tmp_path / "log.jsonl", _epoch(0, 0.5), _epoch(1, 0.6, loss=0.3), _epoch(1, 0.65, loss=0.25))
    assert log.trained("loss") == ([1], [0.25])


def test_a_run_without_validation_has_no_iou_curve(tmp_path):
    """Epochs with null for validation and score still give their training loss."""
    event = {"event": "epoch", "epoch": 1, "train": {"loss": 0.2}, "validation": None, "score": None, "best": True}
    log = _write(tmp_path / "log.jsonl", event)
    assert log.mean_validated("iou") == ([], [])
    assert log.trained("loss") == ([1], [0.2])


def test_no_log_is_no_error(tmp_path):
    """An evaluation leaves none, and a log without an epoch tells nothing."""
    assert read_log(tmp_path / "log.jsonl") is None
    assert _write(tmp_path / "log.jsonl", {"event": "start"}) is None
