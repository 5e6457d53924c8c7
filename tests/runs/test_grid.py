"""What a comparison is to try."""

from __future__ import annotations

import pytest

from segtune.core.errors import UsageError
from segtune.runs.grid import combine, parse_axes, parse_loss, split_values
from segtune.runs.settings import load_settings


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b, c", ["a", "b", "c"]),
        ("[box,click],[box]", ["[box,click]", "[box]"]),
        ("{dice: 1, bce: 2},{dice: 1}", ["{dice: 1, bce: 2}", "{dice: 1}"]),
        ("decoder,lora:r=8,in=encoder+decoder,full", ["decoder", "lora:r=8,in=encoder+decoder", "full"]),
        ("lora:r=8,in=encoder|late:2", ["lora:r=8,in=encoder", "late:2"]),
    ],
)
def test_commas_of_a_value_part_no_values(text, values):
    """Inside brackets, before an option's name, and wherever a bar is there, a comma belongs to the value."""
    assert split_values(text) == values


def test_every_combination_comes_once_the_last_key_fastest():
    """Two by three are six; short words and clear endings name settings in full."""
    axes = parse_axes(["loss=dice,bce+dice", "warmup_steps=1", "warmup_steps=2,3"])
    assert [axis.name for axis in axes] == ["training.loss.weights", "training.optimizer.warmup_steps"]
    found = [dict(one.values) for one in combine(axes)]
    assert len(found) == 6
    assert found[:2] == [{"loss": "dice", "warmup_steps": "1"}, {"loss": "dice", "warmup_steps": "2"}]


def test_the_settings_are_those_asked_for():
    """A value reaches the settings as --set would bring it there, YAML and all; a sum of losses as shares."""
    axes = parse_axes(["loss=focal:20+dice", "lr=3e-4", "first={box: 1}"])
    (only,) = combine(axes)
    overrides = [axis.override(only.values[axis.key]) for axis in axes]
    training = load_settings(data="d", out="o", overrides=overrides).settings.training
    assert training.loss.weights == pytest.approx({"focal": 20 / 21, "dice": 1 / 21})
    assert training.optimizer.lr == 3e-4
    assert training.prompts.first == {"box": 1}


def test_a_sum_of_losses_is_shares():
    """Without numbers equal shares; they always add up to one."""
    assert parse_loss("bce+dice") == {"bce": 0.5, "dice": 0.5}
    assert parse_loss("cldice") == {"cldice": 1.0}
    assert parse_loss("bce:3 + dice:1") == {"bce": 0.75, "dice": 0.25}


def test_folders_are_named_by_what_is_tried_and_never_shared():
    """Names that file systems would not take are made plain and stay different."""
    axes = parse_axes(["model=runs/a,runs:a,runs a"])
    names = [one.folder for one in combine(axes)]
    assert len(set(names)) == 3
    assert all(name.startswith("model=runs-a-") for name in names)
    (plain,) = combine(parse_axes(["train=decoder+prompt"]))
    assert plain.folder == "train=decoder+prompt"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("loss", "KEY=VALUE,VALUE"),
        ("loss=", "KEY=VALUE,VALUE"),
        ("lr=1e-4,,3e-4", "KEY=VALUE,VALUE"),
        ("loss=dise", "Did you mean 'dice'"),
        ("loss=dice:x", "a sum of losses"),
        ("loss=dice+dice", "a sum of losses"),
        ("loss=dice:-1", "a sum of losses"),
        ("trane=full", "no setting named 'trane'"),
        ("lr=1e-4,1e-4", "comes twice"),
        ("data.seed=1,2", "cannot vary"),
        ("training.seed=1,2", "Give --seeds"),
        ("evaluation.modes=[box],[click]", "cannot vary"),
    ],
)
def test_mistakes_are_told(wish, message):
    """What cannot be tried is a usage error that says why."""
    with pytest.raises(UsageError, match=message):
        _try(wish)


def _try(wish):
    return [axis.override(value) for axis in parse_axes([wish]) for value in axis.values]


def test_one_setting_under_two_names_is_refused():
    """Else one of the two would silently win."""
    with pytest.raises(UsageError, match="one setting"):
        parse_axes(["lr=1e-4", "optimizer.lr=3e-4"])
