"""Prompt modes as data."""

from __future__ import annotations

import pytest

from segtune.core.errors import UsageError
from segtune.evaluation import MODES, ON_REQUEST
from segtune.evaluation.modes import find_modes, plan_interactions
from segtune.prompts import PROMPTS

NAMES = ("click", "random_click", "clicks3", "clicks5", "box", "loose_box", "point_box", "mask")


@pytest.mark.parametrize("name", list(MODES))
def test_every_mode_is_named_as_registered_and_has_a_simulator(name):
    """A mode answers to its own name and its first prompt can be drawn."""
    mode = MODES[name]
    assert mode.name == name
    assert mode.prompt is None or mode.prompt in PROMPTS
    assert mode.title
    assert mode.corrections == 0 or "masks" in mode.kinds


def test_modes_come_once_and_in_the_order_of_the_tables():
    """However they are asked for, modes come in one order."""
    assert [mode.name for mode in find_modes(["box", "click", "box"])] == ["click", "box"]
    assert tuple(mode.name for mode in find_modes())[: len(NAMES)] == NAMES


def test_slow_modes_are_scored_when_they_are_named():
    """Everything mode takes a thousand clicks an image, so nobody gets it without a word."""
    assert {"everything"} == ON_REQUEST <= set(MODES)
    assert ON_REQUEST.isdisjoint(mode.name for mode in find_modes())
    assert [mode.name for mode in find_modes(["everything", "box"])] == ["box", "everything"]


def test_an_unknown_mode_is_refused_with_the_nearest():
    """A misspelt mode names the one that was meant."""
    with pytest.raises(UsageError, match="loose_box"):
        find_modes(["losebox"])


def test_clicks_share_one_rollout():
    """One, three and five clicks are read off one interaction of five rounds."""
    plan = {one.prompt: one for one in plan_interactions(find_modes([*NAMES, "everything"]))}
    assert set(plan) == {"click", "random_click", "box", "loose_box", "point_box", "mask"}
    assert plan["click"].rounds == 5
    assert {place: mode.name for place, mode in plan["click"].scored.items()} == {
        0: "click",
        2: "clicks3",
        4: "clicks5",
    }
    assert plan["box"].rounds == 1


def test_a_rollout_is_no_longer_than_asked_for():
    """Three clicks alone need three rounds."""
    (only,) = plan_interactions(find_modes(["clicks3"]))
    assert only.rounds == 3
    assert list(only.scored) == [2]
