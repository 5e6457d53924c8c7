"""A comparison of settings for people."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtune.evaluation.ablation import Trial, compare_trials
from segtune.report.comparison import describe_comparison, write_comparison
from segtune.runs.compare import Compared, plan_comparison

LOSSES = ("dice", "bce+dice", "focal:20+dice:1", "cldice")
TRAIN = ("decoder", "lora:r=8,in=encoder", "full")


@pytest.fixture
def grid(tmp_path):
    """Four losses by three ways of training, two seeds each, on sixty images; nothing was trained for it."""
    return made(tmp_path / "c<b>", {loss: 0.02 * place for place, loss in enumerate(LOSSES)})


def made(
    out: Path, losses: dict[str, float], *, train=TRAIN, seeds: int = 2, crowned: bool = True, **changes
) -> Compared:
    vary = ["loss=" + "|".join(losses), "train=" + "|".join(train)]
    plan = plan_comparison(vary, seeds, out, preset="default", data="cells", epochs=3)
    base = np.random.default_rng(0).uniform(0.3, 0.8, 60)
    trials = []
    for number, cell in enumerate(plan.cells):
        values = cell.combination.values
        rng = np.random.default_rng(number)
        shift = losses[values["loss"]] + 0.04 * train.index(values["train"]) + rng.normal(0.05, 0.01)
        tuned = {mode: base + shift + rng.normal(0, 0.03, 60) for mode in ("click", "box")}
        score = float(np.mean(list(tuned.values()))) + 0.01
        trials.append(Trial(values, cell.seed, score, crowned, tuned, {"click": base, "box": base}, 4_058_340))
    return Compared(plan, compare_trials(trials, [None] * 60), plan.cells, **changes)


def test_the_verdict_names_the_winner_and_what_is_open(grid):
    """Chosen by validation, with its test figure and its gain, and how the others stand to it."""
    verdict = describe_comparison(grid)
    assert verdict.startswith("loss=cldice, train=full has the best validation score of 12 settings")
    assert "On 60 test images it has IoU" in verdict
    assert "All of the 11 other settings are clearly worse on the test images." in verdict


def test_what_is_missing_is_said(tmp_path):
    """Fits that failed, that are still to come, and a split without a test part."""
    found = made(tmp_path, {"dice": 0.0, "bce": 0.0}, train=("full",), seeds=1, crowned=False, part="val")
    short = Compared(found.plan, found.ablation, found.done[:1], {"x": "out of memory"}, part="val")
    verdict = describe_comparison(short)
    assert "never beat the pretrained model" in verdict
    assert "1 of 2 fits failed." in verdict
    assert "no test part" in verdict
    waiting = Compared(found.plan, None, (), stopped=True)
    assert describe_comparison(waiting).startswith("No fit is done yet. 2 of 2 fits are still to be run.")


def test_the_page_is_one_file_that_escapes_what_it_shows(grid):
    """Every setting is in it, in the order of validation; it asks no other host for anything."""
    found = Compared(grid.plan, grid.ablation, grid.done, {"loss=<script>": "it <b>failed</b>"})
    text = write_comparison(found).read_text()
    assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert "<script>" not in text
    assert "it &lt;b&gt;failed&lt;/b&gt;" in text
    rows = re.findall(r"<tr[^>]*>\s*<th scope=\"row\">([^<]*)</th>\s*<th scope=\"row\">([^<]*)</th>", text)
    standings = [tuple(one.setting.values()) for one in grid.ablation.standings]
    assert rows[: len(standings)] == standings
    assert "4,058,340" in text
    assert "Each value, averaged over the others" in text


def test_markdown_and_picture_say_the_same(grid):
    """The table has a line for each setting; the picture tells its figures in words too."""
    write_comparison(grid)
    table = (grid.plan.folder / "comparison.md").read_text()
    winner = grid.ablation.winner
    assert f"| loss=cldice, train=full | {winner.validation:.3f}".replace(" 0.", " .") in table
    assert table.count("\n| loss=") == 2 * 12 + len(LOSSES)
    assert "![Test IoU by setting](comparison.svg)" in table
    svg = (grid.plan.folder / "comparison.svg").read_text()
    assert svg.startswith("<svg")
    assert "pretrained" in svg


@pytest.mark.filterwarnings("error")
def test_a_single_setting_with_one_seed_is_drawn(tmp_path):
    """Nothing to compare with is no reason to fail."""
    found = made(tmp_path, {"dice": 0.0}, train=("full",), seeds=1)
    assert write_comparison(found).is_file()
    assert "1 seed" in describe_comparison(found)


def test_others_are_told_by_how_they_stand(tmp_path):
    """One that is alike, and a mixture of worse and alike."""
    alike = made(tmp_path / "a", {"dice": 0.0}, train=("full", "late:2"), seeds=2)
    same = Compared(alike.plan, _without_shift(alike), alike.done)
    assert "The other setting is not clearly better or worse on the test images." in describe_comparison(same)


def test_what_was_not_compared_is_not_called_alike(tmp_path):
    """Settings without a common seed, and test images of one group: nothing can show whether they differ."""
    found = made(tmp_path, {"dice": 0.0}, train=("full", "late:2"), seeds=2)
    base = np.linspace(0.3, 0.8, 60)
    apart = [
        Trial(cell.combination.values, number, 0.5, True, {"box": base + 0.1 * number}, {"box": base})
        for number, cell in enumerate((found.done[0], found.done[-1]))
    ]
    told = describe_comparison(Compared(found.plan, compare_trials(apart, [None] * 60), found.done))
    assert "Nothing here can show whether it differs from the other setting" in told
    one_group = [replace(trial, seed=0) for trial in apart]
    told = describe_comparison(Compared(found.plan, compare_trials(one_group, ["a"] * 60), found.done))
    assert "Nothing here can show" in told


def test_the_winner_is_of_those_with_most_seeds(tmp_path):
    """A setting that lacks a seed may have scored better; the words leave room for it, and so does the headline."""
    found = made(tmp_path, {"dice": 0.0}, train=("full", "late:2", "decoder"), seeds=2)
    base = np.linspace(0.3, 0.8, 60)
    scores = {"full": (0.8, False), "late:2": (0.95, True), "decoder": (0.7, False)}
    trials = [
        Trial(cell.combination.values, cell.seed, *scores[train], {"box": base}, {"box": base})
        for cell in found.done
        if (train := cell.combination.values["train"]) != "late:2" or not cell.seed
    ]
    short = Compared(found.plan, compare_trials(trials, [None] * 60), found.done)
    assert "has the best validation score of 2 settings with 2 seeds (.800)" in describe_comparison(short)
    assert "No setting beat the pretrained model" not in write_comparison(short).read_text(encoding="utf-8")


def _without_shift(found: Compared):
    """The same ablation from trials that all have one and the same score."""
    base = np.linspace(0.3, 0.8, 60)
    trials = [Trial(cell.combination.values, cell.seed, 0.5, True, {"box": base}, {"box": base}) for cell in found.done]
    return compare_trials(trials, [None] * 60)
