"""A fit from Python leaves what `segtune fit` leaves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import segtune
from segtune.cli import main
from segtune.data.demo import write_demo
from segtune.report import fitting


class Heard:
    """Keeps what is said."""

    def __init__(self):
        self.words = []

    def say(self, words):
        """Keep it."""
        self.words.append(words)


@pytest.fixture
def asked(monkeypatch):
    """Note with what settings a fit is run, and of what a report is written, in place of either."""
    found = {}

    def tune(settings, *, resume, progress):
        found.update(settings=settings, resume=resume)
        results = SimpleNamespace(general=None)
        return SimpleNamespace(
            folder=Path(settings.settings.out), proof=SimpleNamespace(results=results), crowned=True, stopped=False,
            verdict="better", layout="ours", summary={},
        )  # fmt: skip

    monkeypatch.setattr("segtune.runs.finetune.finetune", tune)
    monkeypatch.setattr("segtune.report.pictures.pictures_of", lambda proof: proof)
    monkeypatch.setattr("segtune.report.page.write_report", lambda folder, *_: found.update(report=folder))
    return found


def test_python_and_the_command_do_the_same(asked, tmp_path, capsys):
    """What suits so few images is chosen, and a report is written."""
    write_demo(tmp_path / "polyps", count=6, seed=0)
    options = {"data": tmp_path / "polyps", "out": tmp_path / "run", "model": "facebook/sam-vit-base"}
    heard = Heard()
    segtune.finetune(segtune.load_settings(**options), progress=heard)
    by_python = dict(asked)
    assert by_python["report"] == tmp_path / "run"
    assert by_python["settings"].settings.model.train == "decoder"
    assert by_python["settings"].origins["model.train"] == "by data size (4 training images)"
    assert "4 training images" in heard.words[0]
    asked.clear()
    assert main(["fit", str(options["data"]), "--out", str(options["out"]), "--model", options["model"]]) == 0
    assert asked == by_python
    assert "better" in capsys.readouterr().out


def test_the_default_base_has_its_line_too(asked, tmp_path):
    """Nothing is chosen for nano, and whoever reads along learns why; a run that is gone on with says it no more."""
    write_demo(tmp_path / "polyps", count=6, seed=0)
    settings = segtune.load_settings(data=tmp_path / "polyps", out=tmp_path / "run")
    first, again = Heard(), Heard()
    segtune.finetune(settings, progress=first)
    segtune.finetune(settings, resume=True, progress=again)
    assert ["4 training images" in line and "nano" in line for line in first.words] == [True]
    assert again.words == []


def test_settings_that_were_compared_stay_as_they_are(asked, tmp_path):
    """A comparison has suited them itself, all its fits alike."""
    settings = segtune.load_settings(data=tmp_path, out=tmp_path / "run", model="facebook/sam-vit-base")
    fitting.fit_and_report(settings, resume=True)
    assert (asked["settings"], asked["resume"], asked["report"]) == (settings, True, tmp_path / "run")
