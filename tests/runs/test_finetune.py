"""What the assembler decides by itself: room in the cache, images of the validation, the place of the result."""

import signal
from contextlib import nullcontext
from dataclasses import replace

import pytest
from disc_data import write_discs
from small import discs, stopped_elsewhere

from segtune.adapters.scopes import train_only
from segtune.core.errors import UsageError
from segtune.core.files import read_json, write_json
from segtune.core.progress import SILENT
from segtune.data.dataset import Dataset
from segtune.models.open import open_model
from segtune.models.quality import QualityMap
from segtune.models.save import save_model
from segtune.runs import data as data_module
from segtune.runs import finetune as module
from segtune.runs import folder as folder_module
from segtune.runs.finetune import _calibrated, _save_result, describe_base, finetune, resumed_settings
from segtune.runs.folder import RunFolder
from segtune.runs.settings import load_settings
from segtune.runs.validation import validation_part


def _sparse(count, filled):
    """Discs, of which only those numbered in `filled` have objects."""
    samples = list(discs(count))
    return Dataset.of(
        sample if number in filled else replace(sample, objects=(), labels=()) for number, sample in enumerate(samples)
    )


def _settings(**options):
    return load_settings(data="d", out="o", **options).settings


def _quick(place, *, epochs):
    """Settings of a fit of a few seconds on a base that lies there."""
    overrides = (
        "training.workers=0", "validation.modes=[box]", "evaluation.modes=[box]", "evaluation.general=none",
        "training.prompts.corrections=0", "evaluation.sensitivity_images=0", "device=cpu",
    )  # fmt: skip
    data = write_discs(place / "discs", 8)
    return load_settings(
        data=data, out=place / "run", model=str(place / "base"), train="full", epochs=epochs, overrides=overrides
    )


def test_validation_prefers_images_with_objects():
    """Of twenty images the two with an object are among the four that validate, whatever the seed draws."""
    part = _sparse(20, {3, 17})
    for seed in range(4):
        chosen = validation_part(_settings(validation__images=4, training__seed=seed), part)
        assert len(chosen) == 4
        assert {"disc-3", "disc-17"} <= set(chosen.names)


def test_validation_s_images_are_drawn_by_the_seed_and_stay_in_order():
    """The same seed draws the same images, another one others; they come in the order of the data."""
    part = _sparse(20, set(range(0, 20, 2)))
    drawn = [validation_part(_settings(validation__images=5, training__seed=seed), part).names for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    rows = [part.names.index(name) for name in drawn[0]]
    assert rows == sorted(rows)
    assert all(row % 2 == 0 for row in rows)


@pytest.mark.parametrize("most", [None, 6, 7])
def test_a_small_validation_part_is_taken_whole(most):
    """Where no more images are there than may be scored, none is left out, with objects or without."""
    settings = _settings(overrides=[f"validation.images={'null' if most is None else most}"])
    assert validation_part(settings, _sparse(6, {1})).names == discs(6).names


def test_the_record_tells_how_much_of_the_base_trains(micro):
    """Numbers that train beside numbers in all, and the scope as it was asked for."""
    told = describe_base(_settings(model="somebody/base"), micro, train_only(micro, "decoder"))
    assert told["base"] == "somebody/base"
    assert told["train"] == "decoder"
    assert told["parameters_trained"] == sum(p.numel() for p in micro.mask_decoder.parameters())
    assert told["parameters"] == sum(p.numel() for p in micro.parameters()) > told["parameters_trained"]


def test_a_resumed_run_refuses_another_recipe(tmp_path):
    """What the command line says otherwise than the run's settings is an error that names both values."""
    load_settings(data="d", out=tmp_path, overrides=["lr=1e-4"]).write(tmp_path / "settings.yaml")
    folder = RunFolder(tmp_path)
    same = resumed_settings(load_settings(data="d", out=tmp_path, overrides=["lr=1e-4"]), folder)
    assert same.settings.training.optimizer.lr == 1e-4
    with pytest.raises(UsageError, match=r"training\.optimizer\.lr = 0\.0001.*0\.0002"):
        resumed_settings(load_settings(data="d", out=tmp_path, overrides=["lr=2e-4"]), folder)


def test_a_resumed_run_keeps_what_is_only_a_default_now(tmp_path):
    """What nobody says anew comes from the run, whatever the defaults are."""
    load_settings(data="d", out=tmp_path, epochs=3, overrides=["lr=7e-5"]).write(tmp_path / "settings.yaml")
    resumed = resumed_settings(load_settings(data="d", out=tmp_path), RunFolder(tmp_path))
    assert (resumed.settings.training.epochs, resumed.settings.training.optimizer.lr) == (3, 7e-5)
    assert resumed.entries()["training.optimizer.lr"]["origin"] == "--set"


def test_another_process_that_was_asked_to_stop_is_believed(micro, tmp_path, monkeypatch):
    """Nobody asked the first process, but the run was cut short: its result and its record say so."""
    save_model(micro, tmp_path / "base", extra={})
    monkeypatch.setattr(module, "joined", lambda device: nullcontext(stopped_elsewhere(monkeypatch, after=1)))
    settings = _quick(tmp_path, epochs=3)
    result = finetune(settings)
    assert (result.stopped, result.interrupted, result.summary["steps"]) == (True, True, 1)
    assert read_json(tmp_path / "run" / "run.json")["stopped"] is True


def test_ranks_that_go_are_not_averaged(micro, tmp_path):
    """AdaLoRA sets them to zero on the way; the user is told before anything is written."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    save_model(micro, tmp_path / "base", extra={})
    settings = load_settings(
        data=tmp_path / "none", out=tmp_path / "run", model=str(tmp_path / "base"), train="adalora:r=2",
        overrides=("training.optimizer.ema=.99", "device=cpu"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="moves its ranks while it trains"):
        finetune(settings)
    assert not (tmp_path / "run").exists()


def test_a_stop_that_is_asked_during_the_proof_is_told(micro, tmp_path, monkeypatch):
    """The run is whole; whoever makes several learns that there is to be no other."""
    save_model(micro, tmp_path / "base", extra={})
    settings = _quick(tmp_path, epochs=1)
    prove = module.prove

    def interrupted(*given, **named):
        signal.raise_signal(signal.SIGINT)
        return prove(*given, **named)

    monkeypatch.setattr(module, "prove", interrupted)
    result = finetune(settings)
    assert (result.stopped, result.interrupted) == (False, True)
    assert read_json(tmp_path / "run" / "run.json")["stopped"] is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_the_data_is_looked_over_a_stop_ends_it_at_once(micro, tmp_path, monkeypatch, number):
    """Nothing has been learned that would be lost; the same command begins anew, with --resume and without."""
    save_model(micro, tmp_path / "base", extra={})
    settings = _quick(tmp_path, epochs=1)
    look = data_module.check_dataset

    def interrupted(*given, **named):
        look(*given, **named)
        signal.raise_signal(number)

    for resume in (False, True):
        monkeypatch.setattr(data_module, "check_dataset", interrupted)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings, resume=resume)
        assert RunFolder(tmp_path / "run").is_unbegun
    monkeypatch.undo()
    assert finetune(settings, resume=number == signal.SIGINT).summary["steps"] > 0


def test_a_process_that_does_not_see_the_run_says_so(tmp_path, monkeypatch):
    """On a host with a disk of its own it neither looks the data over again nor makes a split that no other has."""
    monkeypatch.setattr(module.Processes, "any", lambda self, flag: flag)
    monkeypatch.setattr(folder_module, "_LATE_SECONDS", 1)
    monkeypatch.setattr(folder_module.time, "sleep", lambda seconds: None)
    folder = RunFolder(tmp_path / "run")
    settings = load_settings(data=write_discs(tmp_path / "discs", 3), out=folder.path)
    with pytest.raises(UsageError, match="on a disk that all of these hosts share"):
        module._open_together(settings, folder, None, module.Processes(1, 2), resume=False, progress=SILENT)
    assert not folder.path.exists()


def test_a_result_replaces_the_one_before_as_a_whole(micro, tmp_path):
    """Neither a file of an earlier result nor the rest of a save that was cut off is left in the new one."""
    folder = RunFolder(tmp_path)
    for rest in (folder.model, tmp_path / ".model.tmp"):
        rest.mkdir()
        (rest / "rest.txt").write_text("old")
    _save_result(folder, micro, {"crowned": True, "best_epoch": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (folder.model / "rest.txt").exists()
    assert open_model(folder.model, device="cpu").sizes == micro.sizes


def test_told_quality_is_kept_for_the_weights_it_was_fitted_to(micro, tmp_path):
    """Concluded once more a run keeps its calibration; of another best epoch the quality head predicts otherwise."""
    folder = RunFolder(tmp_path)
    _save_result(folder, micro, {"crowned": True, "best_epoch": 1})
    calibrated = read_json(folder.model / "segtune.json") | {"quality": {"scale": 0.5, "bias": 0.1}}
    write_json(folder.model / "segtune.json", calibrated)
    assert _calibrated(folder, micro, {"crowned": True, "best_epoch": 1}).quality_map == QualityMap(0.5, 0.1)
    micro.quality_map = None  # as it is of a model that was tuned
    assert _calibrated(folder, micro, {"crowned": True, "best_epoch": 2}).quality_map is None
