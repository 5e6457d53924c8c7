"""What was done is known after any kill."""

from __future__ import annotations

import pytest

from segtune.core.errors import UsageError
from segtune.segment.journal import Journal

JOB = {"model": "m", "format": "png"}


def test_a_line_cut_short_is_taken_back(tmp_path):
    """Whatever byte the kill came at, whole lines count and the next one begins on a line of its own."""
    journal = Journal(tmp_path, JOB)
    journal.add({"image": "one", "objects": []})
    journal.add({"image": "two", "objects": []})
    journal.close()
    whole = journal.path.read_bytes()
    head = whole.index(b"\n") + 1
    for length in range(len(whole)):
        journal.path.write_bytes(whole[:length])
        again = Journal(tmp_path, JOB)
        again.add({"image": "three", "objects": []})
        expected = {"three"} | {
            name for name in ("one", "two") if f'"{name}", "objects": []}}\n'.encode() in whole[:length]
        }
        assert again.done() == expected, length
        again.close()
        assert journal.path.read_bytes()[:head] == whole[:head]


def test_another_job_is_refused_and_nothing_touched(tmp_path):
    Journal(tmp_path, JOB).close()
    before = (tmp_path / "results.jsonl").read_bytes()
    with pytest.raises(UsageError, match="format differs"):
        Journal(tmp_path, JOB | {"format": "coco"})
    assert (tmp_path / "results.jsonl").read_bytes() == before


def test_an_image_that_failed_is_tried_again(tmp_path):
    journal = Journal(tmp_path, JOB)
    journal.add({"image": "one", "error": "broken"})
    journal.add({"image": "two", "error": "broken"})
    journal.add({"image": "one", "objects": []})
    assert journal.done() == {"one"}
    assert journal.failed() == {"two": "broken"}
    assert [line["image"] for line in journal.results(["two", "one"])] == ["one"]
    journal.close()
