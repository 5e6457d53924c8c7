"""The prompt matrix from a data set to its results."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.predict import predict_masks
from segtune.evaluation.results import read_results, write_results
from segtune.evaluation.scores import metric_names
from segtune.metrics import METRICS as HOUSE
from segtune.segment.encoding import encode_image, evaluating


def read(path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def ten(dataset, sample):
    """Ten images of 0 to 3 objects, some with ignored pixels."""
    return dataset(*(sample(number, objects=number % 4, ignore=number % 3 == 0) for number in range(10)))


def test_means_are_over_objects_then_images_and_pooled_over_pixels(blobs, ten, tmp_path):
    """Both means follow from the per-object table, and are not the same."""
    result = evaluate({"m": blobs()}, ten, folder=tmp_path, modes=["box", "click"])
    by_image = defaultdict(list)
    for row in read(tmp_path / "per_object.csv"):
        if (row["model"], row["mode"]) == ("m", "click"):
            by_image[row["image"]].append(float(row["iou"]))
    expected = np.mean([np.mean(values) for values in by_image.values()])
    cell = result.results().row("m", "click")
    assert cell.mean == pytest.approx(expected, abs=1e-6)
    assert cell.n == 7
    assert cell.low < cell.mean < cell.high
    total = result.results().row("baseline:box", "box", "precision").pooled
    inside = sum(mask.area for one in ten for mask in counted(one))
    boxes = sum(box_area(one, mask) for one in ten for mask in counted(one))
    assert total == pytest.approx(inside / boxes)
    assert total != pytest.approx(result.results().row("baseline:box", "box", "precision").mean)


def counted(one):
    """Return a sample's masks without ignored pixels."""
    ignore = one.ignore_mask()
    for mask in one.masks():
        yield type(one.objects[0]).encode(mask if ignore is None else mask & ~ignore)


def box_area(one, mask) -> int:
    """Return the pixels of the tight box that are not ignored."""
    x0, y0, x1, y1 = mask.box
    ignore = one.ignore_mask()
    return (y1 - y0) * (x1 - x0) - (0 if ignore is None else int(ignore[y0:y1, x0:x1].sum()))


def test_every_cell_has_all_its_metrics(blobs, ten):
    """Models have six metrics in eight modes; baselines five, in the two box modes."""
    result = evaluate({"pretrained": blobs(8), "tuned": blobs()}, ten)
    cells = {(row.model, row.mode, row.metric) for row in result.rows}
    assert len(cells) == len(result.rows) == 2 * 8 * 6 + 2 * 2 * 5
    assert {metric for model, _, metric in cells if model == "tuned"} == set(metric_names())
    assert all(0 <= row.pooled <= 1 for row in result.rows if row.metric != "loss")
    assert all(row.pooled is None for row in result.rows if row.metric == "loss")
    assert all(math.isfinite(row.mean) for row in result.rows)


def test_a_metric_of_another_package_is_scored_too(blobs, ten, tmp_path, monkeypatch):
    """It stands in the matrix, the tables and the size buckets, with an interval, and has no pooled figure."""
    monkeypatch.setitem(HOUSE._targets, "touching", "elsewhere:touching")
    monkeypatch.setitem(HOUSE._loaded, "touching", lambda one, other, ignore=None: (one & other).any((1, 2)).double())
    result = evaluate({"pretrained": blobs(8), "tuned": blobs()}, ten, folder=tmp_path)
    row = result.results().row("tuned", "box", "touching")
    assert row.low <= row.mean <= row.high == 1
    assert row.pooled is None
    assert result.results().row("baseline:box", "box", "touching").mean == 1
    assert result.results().difference("tuned", "pretrained", "box", "touching").n == row.n
    assert any(one.metric == "touching" for one in result.buckets)
    lines = list(csv.DictReader((tmp_path / "per_object.csv").open(encoding="utf-8")))
    assert {line["touching"] for line in lines} <= {"0.000000", "1.000000"}


def test_tuned_is_held_against_the_others_on_the_same_images(blobs, ten):
    """Differences are those of the means, with an interval and a p, and baselines are compared with everyone."""
    results = evaluate({"pretrained": blobs(4), "tuned": blobs(12)}, ten).results()
    one = results.difference("tuned", "pretrained", "click")
    assert one.mean == pytest.approx(results.row("tuned", "click").mean - results.row("pretrained", "click").mean)
    assert one.low < one.mean < one.high
    assert 0 <= one.p <= 1
    assert one.n == 7
    pairs = {(one.model, one.against) for one in results.differences}
    assert pairs == {("tuned", "pretrained")} | {
        (model, f"baseline:{shape}") for model in ("tuned", "pretrained") for shape in ("box", "ellipse")
    }
    assert results.difference("tuned", "pretrained", "click", "loss") is not None
    assert results.difference("tuned", "baseline:box", "box", "loss") is None
    assert results.verdict.startswith("Tuning")


def test_a_subject_can_be_named(blobs, ten):
    """The first model is the subject unless another is named; an unknown one is refused."""
    models = {"a": blobs(4), "b": blobs(12)}
    assert evaluate(models, ten, modes=["box"]).subject == "a"
    assert evaluate(models, ten, modes=["box"], subject="b").subject == "b"
    with pytest.raises(UsageError, match="'c'"):
        evaluate(models, ten, subject="c")
    with pytest.raises(UsageError, match="at least one model"):
        evaluate({}, ten)


def test_order_and_part_of_the_data_change_no_score(blobs, ten, tmp_path):
    """An image has the same scores alone, in another order and in the whole set."""
    evaluate({"m": blobs()}, ten, folder=tmp_path / "all")
    some = ten.subset(list(ten.names)[5:2:-1])
    evaluate({"m": blobs()}, some, folder=tmp_path / "some")
    for table, images in (("per_image.csv", 3), ("per_object.csv", 2)):
        whole, part = read(tmp_path / "all" / table), read(tmp_path / "some" / table)
        names = {row["image"] for row in part}
        assert len(names) == images
        assert sorted(map(str, part)) == sorted(str(row) for row in whole if row["image"] in names)


def test_the_same_seed_gives_the_same_files(blobs, ten, tmp_path):
    """Two evaluations with one seed are equal byte for byte, with another they are not."""
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        result = evaluate({"m": blobs()}, ten, folder=tmp_path / folder, seed=seed)
        write_results(tmp_path / folder / "metrics.json", result.results())
    for name in ("per_image.csv", "per_object.csv", "metrics.json"):
        first, second, third = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert first == second
        assert first != third


def test_images_without_objects_stand_apart(blobs, ten, tmp_path):
    """They are in no mean; their share of false masks is told by model."""
    result = evaluate({"wide": blobs(30), "none": blobs(0)}, ten, folder=tmp_path, modes=["click"])
    assert result.data["images"] == 7
    assert result.data["empty_images"] == 3
    by_model = {one.model: one for one in result.empty}
    assert (by_model["wide"].n, by_model["wide"].false_masks, by_model["wide"].share) == (3, 3, 1.0)
    assert by_model["none"].share == 0.0
    rows = [row for row in read(tmp_path / "per_image.csv") if row["mode"] == "empty"]
    assert len(rows) == 6
    assert {row["false_mask"] for row in rows if row["model"] == "wide"} == {"1"}
    assert all(row["iou"] == "" for row in rows)


def test_only_images_without_objects(blobs, dataset, sample):
    """There is no matrix, and the false masks are still told."""
    result = evaluate({"m": blobs(30)}, dataset(sample(0, objects=0), sample(1, objects=0)))
    assert result.rows == ()
    assert result.empty[0].n == 2
    assert result.results().verdict == "Nothing was scored."


def test_size_buckets_hold_every_object_once(blobs, ten):
    """The buckets' counts add up to all objects and their means to the mean over objects."""
    result = evaluate({"m": blobs()}, ten, modes=["box"])
    cells = [one for one in result.buckets if (one.model, one.metric) == ("m", "iou")]
    assert sum(one.n for one in cells) == result.data["objects"]
    assert {one.metric for one in result.buckets if one.model == "baseline:box"} == set(metric_names()) - {"loss"}
    assert all(one.n > 0 for one in cells)


def test_groups_are_resampled_whole(blobs, dataset, sample):
    """Where groups are known the interval is over them, and the data says so."""
    samples = [sample(number, group=f"patient{number // 4}") for number in range(12)]
    result = evaluate({"m": blobs()}, dataset(*samples), modes=["box"])
    assert result.data["interval"]["unit"] == "group"
    assert result.data["interval"]["units"] == 3
    assert result.rows[0].n == 12


@pytest.mark.parametrize("embed", [None, lambda model, one, index: encode_image(model, one.image)])
def test_an_image_that_cannot_be_read_is_set_aside(blobs, dataset, sample, embed):
    """The rest is scored, and the reason is told, also where images are decoded by who embeds them."""

    def broken():
        raise DataError("image00001.png is truncated.")

    given = dataset(sample(0), replace(sample(1), read=broken), sample(2))
    result = evaluate({"m": blobs()}, given, modes=["box"], embed=embed)
    assert result.data["images"] == 2
    (one,) = result.data["set_aside"]
    assert one["name"] == "image00001.png"
    assert "truncated" in one["reason"]


def test_an_image_of_another_size_than_its_masks_is_set_aside(blobs, dataset, sample):
    """Masks are never compared with predictions of another size."""
    wrong = replace(sample(1), read=lambda: np.zeros((60, 60, 3), dtype=np.uint8))
    result = evaluate({"m": blobs()}, dataset(sample(0), wrong), modes=["box"])
    assert result.data["images"] == 1
    assert "60 × 60 pixels and they are 140 × 90" in result.data["set_aside"][0]["reason"]


def test_nothing_readable_is_an_error(blobs, dataset, sample):
    """If no image can be read, the first reason is the error."""

    def broken():
        raise DataError("It is truncated.")

    with pytest.raises(DataError, match="truncated"):
        evaluate({"m": blobs()}, dataset(replace(sample(1), read=broken)))
    with pytest.raises(DataError, match="needs images"):
        evaluate({"m": blobs()}, dataset())


def test_tables_appear_only_when_complete(blobs, dataset, sample, tmp_path):
    """An evaluation that dies leaves the tables of the one before, and nothing half done."""
    evaluate({"m": blobs()}, dataset(sample(0)), folder=tmp_path, modes=["box"])
    before = (tmp_path / "per_image.csv").read_bytes()

    class Dying(blobs):
        def decode(self, embedding, prompts, multimask):
            if len(self.decoded) == 2:
                raise KeyboardInterrupt
            return super().decode(embedding, prompts, multimask)

    with pytest.raises(KeyboardInterrupt):
        evaluate({"m": Dying()}, dataset(*map(sample, range(5))), folder=tmp_path, modes=["box"])
    assert (tmp_path / "per_image.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["per_image.csv", "per_object.csv"]


def test_tables_grow_row_by_row(blobs, dataset, sample, tmp_path):
    """While images are scored their rows go to the file, not to memory: the file grows before the end."""
    sizes = []

    class Watching(blobs):
        def encode(self, pixels, frames):
            sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
            return super().encode(pixels, frames)

    evaluate(
        {"m": Watching()},
        dataset(*(sample(n, objects=8) for n in range(7))),
        folder=tmp_path,
        modes=["box", "loose_box"],
    )
    assert sizes[-1] > sizes[0] + 8192


def test_few_images_are_held_at_a_time(blobs, dataset, sample):
    """Reading runs ahead of the model by a few images at most."""
    read_so_far, ahead = [], []

    def counting(one):
        image = one.image

        def read():
            read_so_far.append(one.name)
            return image

        return replace(one, read=read)

    class Watching(blobs):
        def encode(self, pixels, frames):
            ahead.append(len(read_so_far) - len(ahead))
            return super().encode(pixels, frames)

    evaluate({"m": Watching()}, dataset(*(counting(sample(n)) for n in range(20))), modes=["box"])
    assert len(read_so_far) == len(ahead) == 20
    assert max(ahead) <= 4


def test_embeddings_can_be_handed_in(blobs, ten):
    """With a source of embeddings no image is decoded and no encoder runs, and the scores are the same."""
    model = blobs()
    with evaluating([model]):
        kept = [encode_image(model, one.image) for one in ten]

    class Blind(blobs):
        def encode(self, pixels, frames):
            raise AssertionError("the encoder ran")

    def fail():
        raise AssertionError("the image was decoded")

    unread = type(ten).of([replace(one, read=fail) for one in ten])
    handed = evaluate({"m": Blind()}, unread, modes=["click"], embed=lambda _, __, index: kept[index])
    assert handed.rows == evaluate({"m": blobs()}, ten, modes=["click"]).rows


def test_models_with_one_encoder_share_its_embeddings(blobs, ten):
    """Where only decoders differ an image is encoded once, with the same scores; another encoder runs by itself."""
    base, tuned, other = blobs(5), blobs(12), blobs(12, gain=5.0)
    together = evaluate({"base": base, "tuned": tuned, "other": other}, ten, modes=["click"])
    assert (base.encoded, tuned.encoded, other.encoded) == (10, 0, 10)
    for name, model in (("tuned", blobs(12)), ("other", blobs(12, gain=5.0))):
        alone = evaluate({name: model}, ten, modes=["click"])
        np.testing.assert_array_equal(alone.scores.of(name, "click"), together.scores.of(name, "click"))
    assert (together.scores.of("tuned", "click") != together.scores.of("other", "click")).any()


def test_modes_not_answered_are_told(points_only, ten):
    """A model that cannot answer a mode has no row there, and the data says why."""
    result = evaluate({"m": points_only()}, ten, modes=["click", "box"])
    assert {row.mode for row in result.rows if row.model == "m"} == {"click"}
    assert result.data["not_answered"] == [{"model": "m", "mode": "box", "reason": "accepts points only"}]


def test_results_survive_their_file(blobs, ten, tmp_path):
    """What is evaluated is what a program reads."""
    results = evaluate({"pretrained": blobs(5), "tuned": blobs()}, ten).results(
        data={"root": "drawn"}, split={"seed": 0}, crowned=True
    )
    write_results(tmp_path / "metrics.json", results)
    back = read_results(tmp_path / "metrics.json")
    assert back.to_json() == results.to_json()
    assert back.data["root"] == "drawn"
    assert back.crowned is True


def test_scores_of_images_can_be_chosen_from(blobs, ten, tmp_path):
    """The table of scores holds every image with objects once, as the file does."""
    result = evaluate({"m": blobs()}, ten, folder=tmp_path, modes=["box", "click"])
    in_file = {
        row["image"]: float(row["iou"])
        for row in read(tmp_path / "per_image.csv")
        if (row["model"], row["mode"]) == ("m", "box")
    }
    in_memory = dict(zip(result.scores.names, result.scores.of("m", "box"), strict=True))
    assert in_memory == pytest.approx(in_file, abs=1e-6)
    assert result.means("m")["box"]["iou"] == pytest.approx(np.mean(list(in_file.values())), abs=1e-6)


@pytest.mark.parametrize("mode", ["click", "random_click", "clicks5", "loose_box", "mask"])
def test_predictions_made_again_are_those_that_were_scored(blobs, dataset, sample, tmp_path, mode):
    """The masks for pictures have exactly the IoU of the table, with the prompts of the same seed."""
    one = sample(21, objects=3, ignore=True)
    evaluate({"m": blobs()}, dataset(one), folder=tmp_path, seed=5)
    rows = [row for row in read(tmp_path / "per_object.csv") if (row["model"], row["mode"]) == ("m", mode)]
    masks, quality, prompts = predict_masks(blobs(), one, mode, 5)
    assert masks.shape == (3, *one.size)
    assert len(prompts) == 3
    for row, mask, truth, confidence in zip(rows, masks, one.masks(), quality, strict=True):
        truth = truth & ~one.ignore_mask()
        assert (mask & truth).sum() / (mask | truth).sum() == pytest.approx(float(row["iou"]), abs=1e-6)
        assert confidence == pytest.approx(float(row["quality"]), abs=1e-6)
    most = {"click": 1, "random_click": 1, "clicks5": 5, "loose_box": 0, "mask": 0}[mode]
    assert max(len(prompt.points) for prompt in prompts) == most
    assert all(set(prompt.point_labels.tolist()) <= {0, 1} for prompt in prompts)
    chosen, _, _ = predict_masks(blobs(), one, mode, 5, objects=[2])
    np.testing.assert_array_equal(chosen[0], masks[2])


def test_predictions_of_an_image_without_objects(blobs, sample):
    """Nothing is asked, nothing comes back."""
    masks, quality, prompts = predict_masks(blobs(), sample(0, objects=0), "box", 0)
    assert masks.shape == (0, 90, 140)
    assert len(quality) == len(prompts) == 0
