"""What was done is known after any kill."""

from __future__ import annotations

import subprocess
import sys

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
        assert set(again.done()) == expected, length
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
    assert set(journal.done()) == {"one"}
    assert journal.failed() == {"two": "broken"}
    assert [line["image"] for line in journal.results(["two", "one"])] == ["one"]
    journal.close()


def test_a_line_that_the_disk_takes_half_of_is_taken_back(tmp_path):
    """In a process of its own, for which files may only grow to a few hundred bytes."""
    code = f"""
import resource, signal
from pathlib import Path
from segtune.core.errors import ResourceError
from segtune.segment.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path({str(tmp_path / "out")!r}), {{"model": "m"}})
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
for number in range(100):
    try:
        journal.add({{"image": f"{{number:03}}", "objects": []}})
    except ResourceError as error:
        assert "disk is full" in str(error)
        print(number, sorted(journal.done()) == [f"{{one:03}}" for one in range(number)])
        break
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["True"], done.stderr
    assert int(done.stdout.split()[0]) > 0


def test_a_job_is_done_by_one_process_at_a_time(tmp_path):
    with Journal(tmp_path, JOB) as journal:
        journal.add({"image": "one", "objects": []})
        with pytest.raises(UsageError, match="Another process"):
            Journal(tmp_path, JOB)
    with Journal(tmp_path, JOB) as journal:
        assert set(journal.done()) == {"one"}


def test_files_that_a_kill_left_half_are_removed(tmp_path):
    """Those that are written beside their place and never got there, however deep."""
    Journal(tmp_path, JOB).close()
    (tmp_path / "deep").mkdir()
    for name in (".one.0123456789ab.tmp.png", "deep/.two.0123456789ab.tmp.png"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "one.png").write_bytes(b"whole")
    Journal(tmp_path, JOB).close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "one.png", "results.jsonl"]
