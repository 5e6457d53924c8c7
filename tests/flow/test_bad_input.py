"""Bad input through the real command line: one clear paragraph, a fitting exit code, nothing lost."""

import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from disc_data import SMALL, write_discs


def _fit(segtune, data, out, model="nano", *more):
    return segtune("fit", data, "--out", out, "--model", model, "--epochs", "1", *SMALL, *more)


def _is_one_paragraph(err):
    return "Traceback" not in err and len([line for line in err.strip().split("\n\n") if line]) == 1


def test_an_empty_folder(segtune, tmp_path):
    """There is nothing to read, and the error says which layouts are understood."""
    (tmp_path / "empty").mkdir()
    for words in (("check", tmp_path / "empty"), ("fit", tmp_path / "empty", "--out", tmp_path / "run")):
        code, _, err = segtune(*words)
        assert code == 4
        assert _is_one_paragraph(err)
        assert "masks" in err


def test_a_folder_that_is_not_there(segtune, tmp_path):
    """A mistyped path is named."""
    code, _, err = _fit(segtune, tmp_path / "nowhere", tmp_path / "run")
    assert code in {2, 4}
    assert "nowhere" in err
    assert _is_one_paragraph(err)


def test_a_text_file_named_png(answer, tmp_path):
    """It is set aside with a reason; the other images are used."""
    data = write_discs(tmp_path / "data", 6)
    (data / "images" / "002.png").write_text("not a picture")
    code, found = answer("check", data, "--out", tmp_path / "check")
    assert code == 0
    assert "images/002.png" in str(found)


def test_a_mask_of_another_size(answer, tmp_path):
    """It is set aside with both sizes."""
    data = write_discs(tmp_path / "data", 6)
    cv2.imwrite(str(data / "masks" / "003.png"), np.full((20, 20), 255, np.uint8))
    _, found = answer("check", data, "--out", tmp_path / "check")
    assert "003.png" in str(found)
    assert "20" in str(found)


def test_no_masks_at_all(segtune, tmp_path):
    """Images alone cannot be learned from."""
    data = write_discs(tmp_path / "data", 4)
    shutil.rmtree(data / "masks")
    code, _, err = _fit(segtune, data, tmp_path / "run")
    assert code == 4
    assert "mask" in err
    assert _is_one_paragraph(err)


def test_one_single_image(segtune, tmp_path, micro):
    """One image cannot train, validate and test; the error says how many it takes."""
    code, _, err = _fit(segtune, write_discs(tmp_path / "data", 1), tmp_path / "run", micro)
    assert code == 4
    assert _is_one_paragraph(err)


def test_all_masks_empty(segtune, tmp_path, micro):
    """Without any object there is nothing to learn."""
    data = write_discs(tmp_path / "data", 5, empty=range(5))
    code, _, err = _fit(segtune, data, tmp_path / "run", micro)
    assert code == 4
    assert _is_one_paragraph(err)


def test_an_unreadable_file(answer, tmp_path):
    """A file that cannot be opened is set aside, the rest is used."""
    data = write_discs(tmp_path / "data", 6)
    (data / "images" / "001.png").unlink()
    (data / "images" / "001.png").symlink_to(tmp_path / "gone.png")
    code, found = answer("check", data, "--out", tmp_path / "check")
    assert code == 0
    assert "001.png" in str(found)


def test_a_hub_id_without_network(segtune, discs, tmp_path):
    """Absent and offline: the error says what to do, and no run folder is begun in vain."""
    code, _, err = _fit(segtune, discs, tmp_path / "run", "somebody/sam-of-theirs")
    assert code == 5
    assert "somebody/sam-of-theirs" in err
    assert _is_one_paragraph(err)


def test_an_unknown_mode(segtune, discs, micro, tmp_path):
    """The nearest mode is offered."""
    code, _, err = segtune("evaluate", micro, discs, "--out", tmp_path / "e", "--modes", "boks")
    assert code == 2
    assert "box" in err


def test_a_part_without_a_split(segtune, discs, micro, tmp_path):
    """--part needs a split to be a part of."""
    code, _, err = segtune("evaluate", micro, discs, "--out", tmp_path / "e", "--part", "val")
    assert code == 2
    assert "--split" in err


@pytest.mark.skipif(sys.platform == "win32", reason="file-size limits are POSIX")
def test_a_full_disk(discs, micro, tmp_path):
    """When writing fails for want of room, the error says so, and the run goes on from there once there is room."""
    out = tmp_path / "run"
    words = ["fit", str(discs), "--out", str(out), "--model", str(micro), "--train", "full", "--epochs", "1", *SMALL]
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "from segtune.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    full = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True, check=False)
    assert full.returncode == 6, full.stderr
    assert "full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list(out.rglob("*.tmp*"))
    again = ["--resume"] if (out / "settings.yaml").exists() else []
    done = subprocess.run(
        [sys.executable, "-m", "segtune", *words, *again], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 3}, done.stderr
    assert (out / "report.html").exists()


def test_user_data_is_never_written(discs, micro, tmp_path, segtune):
    """Checking, fitting and evaluating leave every byte of the data folder as it was."""

    def state():
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(discs.rglob("*")) if path.is_file()
        }

    before = state()
    segtune("check", discs, "--out", tmp_path / "check")
    segtune("evaluate", micro, discs, "--out", tmp_path / "e", "--modes", "box")
    assert state() == before
