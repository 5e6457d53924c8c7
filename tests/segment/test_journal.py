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
    with pytest.raises(UsageError, match="job: format differs"):
        Journal(tmp_path, JOB | {"format": "coco"})
    with pytest.raises(UsageError, match="job: refine differs"):
        Journal(tmp_path, JOB | {"refine": "largest"})
    assert (tmp_path / "results.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "foreign",
    [b"not json\n", b"no line at all", b'{"a": 1}\n{"torn', b"[1, 2]\n", b"\xff\xfe\n"],
    ids=["text", "torn", "json", "list", "bytes"],
)
def test_a_file_of_somebody_elses_is_left_alone(tmp_path, foreign):
    """Whose file it is comes first, and only then is a torn line taken back."""
    (tmp_path / "results.jsonl").write_bytes(foreign)
    with pytest.raises(UsageError, match="not written by segtune"):
        Journal(tmp_path, JOB)
    assert (tmp_path / "results.jsonl").read_bytes() == foreign


def test_a_new_job_takes_no_folder_with_something_in_it(tmp_path):
    """Masks that a person drew are never replaced, whatever their names."""
    (tmp_path / "one.png").write_bytes(b"a person's work")
    with pytest.raises(UsageError, match=r"not empty \(it has one.png\)"):
        Journal(tmp_path, JOB)
    assert [each.name for each in tmp_path.iterdir()] == ["one.png"]


def test_an_image_that_failed_is_tried_again(tmp_path):
    journal = Journal(tmp_path, JOB)
    journal.add({"image": "one", "error": "broken"})
    journal.add({"image": "two", "error": "broken"})
    journal.add({"image": "one", "objects": []})
    assert journal.done() == {"one"}
    assert journal.failed() == {"two": "broken"}
    assert [line["image"] for line in journal.results(["two", "one"])] == ["one"]
    journal.close()
