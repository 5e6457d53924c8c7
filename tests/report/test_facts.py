"""Key figures and what stands beside the matrix."""

from __future__ import annotations

import json

import pytest

from segtune.report import facts
from segtune.report.numbers import decimal
from segtune.report.run import read_run


def _values(run):
    return {fact.label: fact.value for fact in facts.key_facts(run)}


def test_key_figures_come_from_the_results(run_folder):
    """Each headline figure is the matrix's own, the mean of modes is over all of them."""
    run = read_run(run_folder)
    values = _values(run)
    means = {model: [run.results.row(model, mode).mean for mode in run.modes] for model in ("pretrained", "tuned")}
    assert values["IoU, tight box"] == f"{decimal(means['pretrained'][1])} → {decimal(means['tuned'][1])}"
    assert values["Mean IoU of all modes"] == " → ".join(decimal(sum(found) / 2) for found in means.values())
    assert values["Images scored"] == "12"
    assert values["Training time"] == "6 min 26 s"


def test_the_mean_of_modes_is_over_shared_modes(run_folder):
    """A mode that one model cannot answer is in neither mean: they would be of different things."""
    path = run_folder / "metrics.json"
    content = json.loads(path.read_text())
    content["rows"] = [row for row in content["rows"] if (row["model"], row["mode"]) != ("pretrained", "click")]
    path.write_text(json.dumps(content))
    run = read_run(run_folder)
    assert _values(run)["Mean IoU of all modes"] == _values(run)["IoU, tight box"]


def test_buckets_are_before_and_after(run_folder):
    """Sizes go from small to large, with their numbers of objects and the change."""
    run = read_run(run_folder)
    sizes, lines = facts.bucket_table(run)
    assert sizes == (("small", "21"), ("medium", "48"), ("large", "9"))
    before, after = (run.results.row(model, "click").mean - 0.08 for model in ("pretrained", "tuned"))
    assert lines[0].sizes[0][:2] == (decimal(before), decimal(after))
    assert facts.size_limits(run).endswith("small: 0 % to 1 %, medium: 1 % to 10 %, large: 10 % to 100 %.")


def test_trees_become_pairs():
    """Nested values get dotted names; long lists and lists of objects are counted, an empty one is none."""
    tree = {"a_b": {"c": 1, "d": [1.5, 2]}, "names": ["x"] * 20, "found": [{"x": 1}], "nothing": []}
    assert facts.flatten(tree) == [
        ("a b: c", "1"),
        ("a b: d", "1.5, 2"),
        ("names", "20"),
        ("found", "1"),
        ("nothing", "none"),
    ]


def test_the_split_is_told_by_size_and_hash(run_folder):
    """Names are counted, not listed, and what both files say is said once."""
    pairs = facts.split_facts(read_run(run_folder))
    names = [name for name, _ in pairs]
    assert dict(pairs)["train"] == "186"
    assert dict(pairs)["origin"] == "drawn"
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("command", "text"), [(["segtune", "fit", "a b"], "segtune fit 'a b'"), ("as it was", "as it was"), (None, "")]
)
def test_the_command_is_quoted(run_folder, command, text):
    """A shell takes the command back as it was given."""
    record = run_folder / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"command": command}))
    assert facts.command_line(read_run(run_folder)) == text


def test_images_without_objects_are_told_per_model(run_folder):
    """How often each model drew a mask where nothing is."""
    assert facts.empty_facts(read_run(run_folder)) == [
        ("Pretrained", "3 of 4 with a false mask, .750"), ("Tuned", "1 of 4 with a false mask, .250"),
    ]  # fmt: skip
