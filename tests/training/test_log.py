"""The training log: what a resumed run writes again is there once."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from segtune.training.log import TrainingLog


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens the log, and close what it opened."""
    logs = []

    def open_log(**given):
        logs.append(TrainingLog(tmp_path, **given))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def _events(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_an_event_can_be_read_at_once(opened, tmp_path):
    """Whoever looks at a run under way, and a run that is killed, has every line written so far, whole."""
    log = opened()
    log.write("step", step=1, loss=0.5)
    log.write("epoch", epoch=1)
    assert _events(tmp_path) == [{"event": "step", "step": 1, "loss": 0.5}, {"event": "epoch", "epoch": 1}]


def test_a_resumed_log_is_cut_off_where_the_checkpoint_was_made(opened, tmp_path):
    """Steps after the checkpoint are done again: their first lines go, half a line of a killed run too."""
    log = opened()
    log.write("step", step=1)
    kept = log.position
    log.write("step", step=2)
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "st')
    again = opened(keep=kept, step=2)
    assert again.position == kept
    again.write("step", step=2, loss=0.1)
    assert _events(tmp_path) == [{"event": "step", "step": 1}, {"event": "step", "step": 2, "loss": 0.1}]


def test_of_a_log_that_was_lost_nothing_is_made_up(opened, tmp_path):
    """A file grown to the length it once had would be zeros, which no reader of JSON lines takes."""
    opened(keep=500, step=2).write("step", step=2)
    assert _events(tmp_path) == [{"event": "step", "step": 2}]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "st')
    opened(keep=500, step=3).write("step", step=3)
    assert _events(tmp_path) == [{"event": "step", "step": 2}, {"event": "step", "step": 3}]


def test_a_new_run_starts_an_empty_log(opened, tmp_path):
    """Of a start that was cut off before its first checkpoint no line is left."""
    opened().write("step", step=1)
    opened().write("step", step=9)
    assert _events(tmp_path) == [{"event": "step", "step": 9}]


def test_a_figure_that_is_no_number_is_null(opened, tmp_path):
    """A validation loss of a model that diverged must not end the run with its figures unwritten."""
    log = opened(step=1)
    log.write("epoch", validation={"box": {"iou": 0.5, "loss": float("nan")}})
    log.close()
    (told,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert told["validation"] == {"box": {"iou": 0.5, "loss": None}}


def test_tensorboard_is_told_what_to_drop(opened, tmp_path):
    """The resumed curve starts at the first step to come: what was drawn from there on is to be dropped."""
    log = opened(step=7)
    log.scalars({"train/loss": 0.25, "train/iou": 0.5}, 7)
    log.close()
    events = _board(tmp_path / "tensorboard")
    assert [event.step for event in events if event.session_log.status == SessionLog.START] == [7]
    drawn = {(value.tag, event.step): value.simple_value for event in events for value in event.summary.value}
    assert drawn == {("train/loss", 7): 0.25, ("train/iou", 7): 0.5}


def _board(folder):
    """Return the events in TensorBoard's file: each has its length and a checksum before it and one after."""
    (path,) = folder.iterdir()
    content, events, start = path.read_bytes(), [], 0
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        events.append(Event.FromString(content[start + 12 : start + 12 + length]))
        start += 12 + length + 4
    return events
