"""What the words of each command become, with a stand-in where the work would be done."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from segtune.cli import main
from segtune.core.errors import INTERRUPTED, NOT_CROWNED, UsageError


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """Put a recorder in the place of a function; it returns `result` and keeps what it was called with."""

    def arrange(place: str, result: object) -> SimpleNamespace:
        module, _, name = place.partition(":")
        calls = SimpleNamespace(args=None, options=None)

        def record(*args: object, **options: object) -> object:
            calls.args, calls.options = args, options
            return result

        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: record}))
        return calls

    return arrange


def fit_result(**fields: object) -> SimpleNamespace:
    """Return what a fit that gained something returns, but for `fields`."""
    plain = {"crowned": True, "stopped": False, "verdict": "Better.", "folder": Path("RUN"), "summary": {"epochs": 3}}
    proof = SimpleNamespace(results=SimpleNamespace(general=None))
    plain |= {"proof": proof, "layout": "transformers' layout"}
    return SimpleNamespace(**(plain | fields))


LEVEL = SimpleNamespace(results=SimpleNamespace(verdict="Level.", unseen=(), to_json=lambda: {"rows": []}))
"""What an evaluation returns."""

FINETUNE = "segtune.runs.finetune:finetune"


@pytest.fixture
def reports(stand_in) -> SimpleNamespace:
    """Keep what reports were asked for instead of writing them."""
    stand_in("segtune.report.pictures:pictures_of", "pictures")
    return stand_in("segtune.report.page:write_report", Path("DIR/report.html"))


def test_fit_hands_its_options_on(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option is the setting it stands for, and says so as its origin."""
    calls = stand_in(FINETUNE, fit_result())
    words = ["fit", "DATA", "--out", "RUN", "--model", "base.pth", "--train", "late:2", "--epochs", "3"]
    assert main([*words, "--set", "optimizer.lr=1e-3", "--set", "objects=parts", "--resume"]) == 0
    settings = calls.args[0].settings
    assert (settings.data.path, settings.out, settings.model.base) == ("DATA", "RUN", "base.pth")
    assert (settings.model.train, settings.training.epochs) == ("late:2", 3)
    assert (settings.training.optimizer.lr, settings.data.objects) == (1e-3, "parts")
    assert calls.options["resume"] is True
    assert reports.args[:2] == (Path("RUN"), "pictures")
    assert capsys.readouterr().out.splitlines() == [
        "Better.",
        "Model: RUN/model, in transformers' layout",
        "Report: RUN/report.html",
    ]


def test_fit_says_what_was_forgotten(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """Gain is told first, then the loss on general images."""
    general = SimpleNamespace(verdict="Worse elsewhere.")
    stand_in(FINETUNE, fit_result(proof=SimpleNamespace(results=SimpleNamespace(general=general))))
    assert main(["fit", "DATA", "--out", "RUN"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["Better.", "Worse elsewhere."]


def test_fit_for_programs(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, with the places a program wants next."""
    stand_in(FINETUNE, fit_result())
    assert main(["fit", "DATA", "--out", "RUN", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["crowned"], answer["folder"], answer["summary"]) == (True, "RUN", {"epochs": 3})
    assert answer["report"] == "RUN/report.html"


@pytest.mark.parametrize(
    ("fields", "code"),
    [({}, 0), ({"crowned": False}, NOT_CROWNED), ({"stopped": True}, INTERRUPTED)],
    ids=["gained", "nothing gained", "stopped"],
)
def test_fit_s_exit_code_is_its_outcome(fields: dict[str, bool], code: int, stand_in, reports, capsys) -> None:
    """A script need not read the verdict to know whether something was gained."""
    stand_in(FINETUNE, fit_result(**fields))
    assert main(["fit", "DATA", "--out", "RUN"]) == code
    assert ("--resume" in capsys.readouterr().out) == bool(fields.get("stopped"))


def test_one_process_of_several_speaks(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """The others have no result and print nothing."""
    stand_in(FINETUNE, None)
    assert main(["fit", "DATA", "--out", "RUN"]) == 0
    assert reports.args is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--preset", "slide"], "slides"),
        (["--set", "training.epoch=3"], "training.epochs"),
        (["--set", "epochs"], "NAME=VALUE"),
        (["--epochs", "0"], "training.epochs"),
    ],
)
def test_fit_refuses_wrong_settings_before_any_work(words: list[str], hint: str, stand_in, capsys) -> None:
    """A misspelt preset or setting is answered with the nearest right one, and nothing is started."""
    calls = stand_in(FINETUNE, fit_result())
    assert main(["fit", "DATA", "--out", "RUN", *words]) == UsageError.exit_code
    assert hint in capsys.readouterr().err
    assert calls.args is None


def test_evaluate_hands_its_options_on(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """Modes are split at commas, models to compare with are gathered."""
    calls = stand_in("segtune.runs.evaluate:evaluate_models", LEVEL)
    words = ["evaluate", "runs/a", "DATA", "--out", "DIR", "--against", "nano", "--against", "runs/b"]
    words += ["--modes", "click, box", "--split", "split.json", "--part", "val", "--objects", "parts", "--seed", "5"]
    assert main([*words, "--unseen", "OTHER", "--json"]) == 0
    assert calls.args == ("runs/a", Path("DATA"), Path("DIR"))
    assert list(calls.options["unseen"]) == [Path("OTHER")]
    assert list(calls.options["against"]) == ["nano", "runs/b"]
    assert calls.options["modes"] == ["click", "box"]
    assert (calls.options["split"], calls.options["part"]) == (Path("split.json"), "val")
    assert (calls.options["objects"], calls.options["format"], calls.options["seed"]) == ("parts", None, 5)
    assert json.loads(capsys.readouterr().out) == {"rows": [], "folder": "DIR", "report": "DIR/report.html"}
    assert reports.args[:2] == (Path("DIR"), "pictures")


def test_evaluate_leaves_the_choice_open(stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not said is left to the evaluation: all modes, and whichever part fits."""
    calls = stand_in("segtune.runs.evaluate:evaluate_models", LEVEL)
    assert main(["evaluate", "nano", "DATA", "--out", "DIR"]) == 0
    assert [calls.options[name] for name in ("modes", "split", "part")] == [None, None, None]
    assert capsys.readouterr().out.splitlines() == ["Level.", "Report: DIR/report.html"]


@pytest.mark.parametrize(
    ("said", "folder"), [((), "runs/compare-polyps"), (("--out", "elsewhere"), "elsewhere")], ids=["default", "said"]
)
def test_compare_needs_no_folder(said, folder, stand_in, tmp_path, monkeypatch, capsys) -> None:
    """The default has the name of the data, also where that is a dot; another may be said."""
    (tmp_path / "polyps").mkdir()
    monkeypatch.chdir(tmp_path / "polyps")
    plan = stand_in("segtune.runs.compare:plan_comparison", "plan")
    found = SimpleNamespace(ablation=None, to_json=dict, stopped=False, failed={})
    sys.modules["segtune.runs.compare"].run_comparison = lambda *_: found
    stand_in("segtune.report.comparison:write_comparison", None)
    sys.modules["segtune.report.comparison"].describe_comparison = lambda _: "Nothing."
    words = ["compare", ".", "--vary", "loss=dice,bce+dice", "--vary", "train=decoder,full", "--seeds", "3", "--json"]
    assert main([*words, *said]) == NOT_CROWNED
    assert plan.args == (["loss=dice,bce+dice", "train=decoder,full"], 3, Path(folder))
    assert json.loads(capsys.readouterr().out)["folder"] == folder


def test_report_says_where_it_is(stand_in, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's path is the answer, for people and programs."""
    calls = stand_in("segtune.report.page:write_report", Path("RUN/report.html"))
    assert main(["report", "RUN"]) == main(["report", "RUN", "--json"]) == 0
    assert calls.args == (Path("RUN"),)
    for_people, for_programs = capsys.readouterr().out.splitlines()
    assert for_people == "Report: RUN/report.html"
    assert json.loads(for_programs) == {"report": "RUN/report.html"}


def test_report_of_no_run_is_a_mistake_of_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without results is named, with what would have them."""
    assert main(["report", str(tmp_path)]) == 4
    assert str(tmp_path) in capsys.readouterr().err


def test_demo_draws_and_fits(tmp_path: Path, stand_in, reports, capsys: pytest.CaptureFixture[str]) -> None:
    """The images lie beside the run, and the fit is the one that users call."""
    calls = stand_in(FINETUNE, fit_result())
    assert main(["demo", "--out", str(tmp_path / "demo"), "--images", "20"]) == 0
    settings = calls.args[0].settings
    assert settings.data.path == str(tmp_path / "demo-data")
    assert len(list((tmp_path / "demo-data" / "images").iterdir())) == 20
    assert calls.options["resume"] is False
    assert capsys.readouterr().out.startswith("Better.")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["calibrate", "RUN", "--only", "quality", "--points-per-side", "8"], "which --only quality leaves alone"),
        (["blend", "RUN", "--out", "OUT", "--alpha", "0.5", "--keep", "0.8"], "--alpha says which blend to take"),
        (["blend", "RUN", "--out", "OUT", "--alpha", "0.5", "--alphas", "0.5"], "--alpha says which blend to take"),
    ],
)
def test_options_that_would_be_ignored_are_refused(words, told, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is opened."""
    assert main(words) == UsageError.exit_code
    assert told in capsys.readouterr().err


def test_a_demo_that_has_begun_keeps_its_images(
    tmp_path: Path, stand_in, reports, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for others it says so."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "settings.yaml").touch()
    assert main(["demo", "--out", str(tmp_path / "demo"), "--seed", "3"]) == UsageError.exit_code
    assert "Leave out --images and --seed" in capsys.readouterr().err


def test_a_demo_in_the_folder_one_is_in(tmp_path: Path, stand_in, reports, monkeypatch: pytest.MonkeyPatch) -> None:
    """'.' has no name of its own; the images go beside the folder all the same."""
    calls = stand_in(FINETUNE, fit_result())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["demo", "--out", ".", "--images", "20"]) == 0
    assert calls.args[0].settings.data.path == str(tmp_path / "here-data")
    assert (tmp_path / "here-data" / "images").is_dir()


def test_a_demo_that_was_cut_off_goes_on(tmp_path: Path, stand_in, reports) -> None:
    """A run that has begun is resumed on the images it has."""
    calls = stand_in(FINETUNE, fit_result())
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "settings.yaml").touch()
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert calls.options["resume"] is True
    assert not (tmp_path / "demo-data").exists()
