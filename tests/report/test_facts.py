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
    assert values["Time in training steps"] == "6 min 26 s"


def test_time_is_told_with_what_it_leaves_out(run_folder):
    """An epoch's seconds are those of its steps: the remark says that validation is not among them."""
    notes = {fact.label: fact.note for fact in facts.key_facts(read_run(run_folder))}
    assert notes["Time in training steps"] == "20 epochs, without validation"


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


def _with(run_folder, name, **fields):
    """Change fields of one of the run's JSON files and read the run."""
    path = run_folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return read_run(run_folder)


def _scored(run_folder, *, crowned, **data):
    return _with(run_folder, "metrics.json", crowned=crowned, data=data)


@pytest.mark.parametrize(
    ("crowned", "data", "said"),
    [
        (True, {"part": "test", "leaks": 3}, "test part of the split that the run was given (data.split)"),
        (None, {"part": "train", "leaks": 3}, "named by hand (--part)"),
        (True, {"part": "val", "leaks": 3}, "3 of the images scored here"),
        (False, {"part": "val", "leaks": 0}, "the part 'val' was scored, by which the best epoch was chosen"),
        (True, {"part": "test", "leaks": 0, "dataset": {"parted_groups": 2}}, "2 groups (patients, scenes or videos)"),
    ],
)
def test_the_warning_names_the_gravest_fault_and_its_cause(run_folder, crowned, data, said):
    """Known images come before a missing test part, and each is told with how it came about: one warning, not two."""
    text = facts.warning(_scored(run_folder, crowned=crowned, **data))
    assert said in text
    assert text.startswith("These figures are not to be trusted as a test")
    assert text.count("not to be trusted") == 1


@pytest.mark.parametrize(
    ("crowned", "data"),
    [(True, {"part": "test", "leaks": 0}), (None, {"part": "val", "leaks": 0}), (False, {}), (None, {"part": "all"})],
)
def test_a_fair_test_has_no_warning(run_folder, crowned, data):
    """An evaluation may score any part that no compared model knows; an older run does not say its part."""
    assert facts.warning(_scored(run_folder, crowned=crowned, **data)) == ""


def test_the_title_is_model_and_data_without_their_places(run_folder):
    """Paths of one machine mean nothing on another; without a record the folder's name has to do."""
    run = _with(run_folder, "run.json", model={"base": "/models/mine"}, data={"path": "/data/lumps/"})
    assert facts.title_of(run) == "mine on lumps"
    assert facts.title_of(_with(run_folder, "run.json", model=None)) == "run"


def test_a_run_that_stayed_pretrained_says_which_epoch_was_best(run_folder):
    """Epoch 0 is no tuned epoch: it is told in words, beside how many epochs there were."""
    lines = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "epoch":
            line |= {"best": False, "score": 0.9 - 0.01 * line["epoch"]}
        elif line["event"] == "end":
            line["best_epoch"] = 0
    (run_folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (best,) = [fact for fact in facts.key_facts(read_run(run_folder)) if fact.label == "Best epoch"]
    assert (best.value, best.note) == ("0", "of 20: the pretrained model")


@pytest.mark.parametrize(("low", "high", "tone"), [(0.01, 0.1, "good"), (-0.1, -0.01, "bad"), (-0.01, 0.1, "")])
def test_a_change_is_marked_only_where_it_is_one(run_folder, low, high, tone):
    """Green or red where the whole interval lies on one side of zero, whatever the means say."""
    content = json.loads((run_folder / "metrics.json").read_text())
    shifted = [row | {"low": low, "high": high} for row in content["differences"]]
    run = _with(run_folder, "metrics.json", differences=shifted)
    assert {fact.tone for fact in facts.key_facts(run) if fact.label.startswith("IoU")} == {tone}


def test_a_model_alone_has_figures_without_a_change(run_folder):
    """Without a reference there is neither an arrow nor a colour."""
    content = json.loads((run_folder / "metrics.json").read_text())
    alone = [row for row in content["rows"] if row["model"] == "tuned"]
    found = facts.key_facts(_with(run_folder, "metrics.json", rows=alone, differences=[]))
    assert {fact.label for fact in found} >= {"Mean IoU of all modes", "IoU, tight box"}
    assert not any("→" in fact.value or fact.tone for fact in found)


def test_the_record_is_told_by_topic_without_the_command(run_folder):
    """Times first, then each group of the record under its own heading; the command stands elsewhere."""
    told = dict(facts.provenance(read_run(run_folder)))
    assert list(told) == ["Run", "Versions", "Machine", "Data", "Model"]
    assert [name for name, _ in told["Run"]] == ["started", "finished", "stopped"]
    assert dict(told["Model"])["parameters trained"] == "3104221"
    assert "command" not in str(told)


def test_chosen_settings_stand_apart_from_defaults(run_folder):
    """Whatever somebody said counts as chosen, by option, --set or preset."""
    chosen, left = facts.settings_by_origin(read_run(run_folder))
    assert [one.name for one in chosen] == ["preset", "data.path", "model.train", "training.epochs"]
    assert {one.origin for one in left} == {"default"}
