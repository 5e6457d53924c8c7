"""A model sees images as the run that it came of saw its own, whichever way it is used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import UsageError
from segtune.data.dataset import open_dataset
from segtune.data.reading import Reading
from segtune.models.open import open_model
from segtune.models.save import save_model
from segtune.runs.settings import load_settings
from segtune.segment.many import segment_many
from segtune.segment.origin import reading_for
from segtune.segment.session import Session
from segtune.segment.tiles import TileSettings
from segtune.segment.views import averaged
from segtune.segment.wishes import same_for_all

BOX = (10, 8, 40, 30)


@pytest.fixture
def run(model, tmp_path):
    """Make the folder of a run on data, as far as using its model goes."""

    def make(data: Path, **reading: object) -> Path:
        folder = tmp_path / "run"
        save_model(model, folder / "model")
        load_settings(data=data, out=folder, **reading).write(folder / "settings.yaml")
        (folder / "run.json").write_text(json.dumps({"data": {"format": open_dataset(data).format}}))
        return folder

    return make


@pytest.fixture
def fields(tmp_path):
    """A data set of one GeoTIFF of five bands with 16 bits, of low values."""
    tifffile = pytest.importorskip("tifffile")
    for folder in ("images", "masks"):
        (tmp_path / "fields" / folder).mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 3000, (48, 64, 5), dtype=np.uint16)
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "fields" / "images" / "a.tif", values, metadata=None, **options)
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[10:30, 10:30] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "fields" / "masks" / "a.png")
    return tmp_path / "fields"


def found(out):
    lines = (json.loads(line) for line in (out / "results.jsonl").read_text().splitlines())
    return [line["objects"] for line in lines if "objects" in line]


@pytest.mark.parametrize("tiles", [None, TileSettings(side=32)], ids=["whole", "tiles"])
@pytest.mark.parametrize("bands", [None, (4, 3, 2)])
def test_many_images_are_seen_as_the_run_saw_its_data(run, fields, tmp_path, tiles, bands):
    """A GeoTIFF gives the masks that its sample, as an ordinary image, gives: not those of other bands, or of black."""
    opened = open_model(run(fields, data__bands=bands))
    (tmp_path / "shown").mkdir()
    PIL.Image.fromarray(open_dataset(fields, bands=bands)[0].image).save(tmp_path / "shown" / "a.png")
    asked = same_for_all(None, ",".join(map(str, BOX)))
    for name, inputs in (("deep", fields / "images"), ("plain", tmp_path / "shown")):
        assert segment_many(opened, [inputs], tmp_path / name, asked, tiles=tiles, format="coco").done == 1
    assert found(tmp_path / "deep") == found(tmp_path / "plain")


def test_a_session_sees_what_the_run_saw(run, fields):
    """Named by the run, by its model's folder, or as the opened model; another reading can be asked for."""
    folder, path = run(fields, data__bands=(4, 3, 2)), fields / "images" / "a.tif"
    seen = open_dataset(fields, bands=(4, 3, 2))[0].image
    expected = Session(open_model(folder), seen).segment(box=BOX).mask.logits
    for named in (folder, folder / "model", averaged(open_model(folder), [])):
        assert (Session(named, path).segment(box=BOX).mask.logits == expected).all()
    other = Session(folder, path, reading=Reading(bands=(1, 2, 3))).segment(box=BOX).mask.logits
    assert (other != expected).any()


def test_slices_of_a_volume_are_images_of_their_own(run, tmp_path):
    """Seen through the run's window and named as its samples are, in a folder and alone."""
    nibabel = pytest.importorskip("nibabel")
    values = np.random.default_rng(0).integers(-100, 1000, (64, 48, 3)).astype(np.int16)
    for folder, each in (("images", values), ("masks", (values > 500).astype(np.uint8))):
        (tmp_path / "ct" / folder).mkdir(parents=True)
        nibabel.Nifti1Image(each, np.eye(4)).to_filename(tmp_path / "ct" / folder / "a.nii.gz")
    opened = open_model(run(tmp_path / "ct", data__window=(400, 300)))
    data = open_dataset(tmp_path / "ct", window=(400, 300))
    prompts = {f"a.nii.gz#{number:04d}": [{"box": BOX}] for number in (0, 2)}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    asked = same_for_all(None, ",".join(map(str, BOX)))
    (tmp_path / "shown").mkdir()
    for number, sample in enumerate(data):
        PIL.Image.fromarray(sample.image).save(tmp_path / "shown" / f"{number}.png")
    done = segment_many(opened, [tmp_path / "ct" / "images"], tmp_path / "out", asked)
    assert (done.images, done.done) == (3, 3)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [f"a#000{n}.png" for n in range(3)]
    segment_many(opened, [tmp_path / "shown"], tmp_path / "plain", asked)
    assert found(tmp_path / "out") == found(tmp_path / "plain")
    one = segment_many(opened, [tmp_path / "ct" / "images" / "a.nii.gz#0001"], tmp_path / "one", asked)
    assert one.done == 1
    assert found(tmp_path / "one") == found(tmp_path / "out")[1:2]


def test_a_job_is_another_with_another_reading(run, fields, tmp_path):
    """Its results would not be those of one way of looking."""
    opened, asked = open_model(run(fields)), same_for_all(None, "10,8,40,30")
    segment_many(opened, [fields / "images"], tmp_path / "out", asked)
    with pytest.raises(UsageError, match="another job"):
        segment_many(opened, [fields / "images"], tmp_path / "out", asked, reading=Reading(bands=(3, 2, 1)))


def test_how_images_are_read_is_known_by_the_run(run, model, fields, tmp_path):
    """What it says comes first, then what its data was found to be; a model of no run says nothing."""
    folder = run(fields, data__bands=(4, 3, 2), data__window=(40, 400))
    assert reading_for(open_model(folder)) == Reading("geotiff", (4, 3, 2), (40, 400))
    assert reading_for(averaged(open_model(folder), ["flip"])) == Reading("geotiff", (4, 3, 2), (40, 400))
    blend = tmp_path / "blend" / "model"
    save_model(model, blend, extra={"blend": {"run": str(folder)}})
    (tmp_path / "blend" / "fingerprints.safetensors").touch()
    assert reading_for(open_model(blend.parent)) == Reading("geotiff", (4, 3, 2), (40, 400))
    # The run has gone: what the blend itself remembers counts.
    gone = {"run": str(tmp_path / "gone")}
    for kept, expected in (
        ({}, Reading()),
        ({"reading": Reading("geotiff", (4, 3, 2), (40, 400)).to_json()}, Reading("geotiff", (4, 3, 2), (40, 400))),
        ({"reading": Reading("mask_folder").to_json()}, Reading("plain")),
    ):
        save_model(model, blend, extra={"blend": gone | kept})
        assert reading_for(open_model(blend.parent)) == expected
    save_model(model, tmp_path / "alone")
    for named in (model, open_model("nano"), open_model(tmp_path / "alone")):
        assert reading_for(named) == Reading()


@pytest.mark.parametrize(("name", "format_"), [("a.png", None), ("sub/a.TIF", "mask_folder")])
def test_a_run_says_of_tiffs_only_what_it_saw_of_them(run, tmp_path, name, format_):
    """Of data without any it says nothing: a GeoTIFF is then read as its content says, not nearly black."""
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        PIL.Image.fromarray(np.eye(48, dtype=np.uint8) * 255).save(tmp_path / "data" / folder / "a.png")
    folder = run(tmp_path / "data")
    (folder / "split.json").write_text(json.dumps({"train": ["b.png"], "val": [], "test": [name]}))
    assert reading_for(open_model(folder)) == Reading(format_)


def test_a_run_of_another_version_tells_how_its_images_were_read(run, fields):
    """Whatever else its settings hold that this version does not know, or knows otherwise."""
    folder = run(fields, data__bands=(4, 3, 2))
    settings = folder / "settings.yaml"
    later = "data.objects:\n  value: stripes\n  origin: default\ntraining.magic:\n  value: 1\n  origin: default\n"
    settings.write_text(settings.read_text().replace("data.objects:", "data.subjects:") + later)
    assert reading_for(open_model(folder)) == Reading("geotiff", (4, 3, 2))
    settings.write_text("data.bands:\n  value: many\n")
    with pytest.raises(UsageError, match="bands = 'many' is not allowed"):
        reading_for(open_model(folder))


@pytest.mark.parametrize("name", ["run.json", "split.json"])
@pytest.mark.parametrize("content", ['{"data": ', "[]", "\udcff"])
def test_a_damaged_record_of_a_run_is_told_in_words(run, fields, name, content):
    folder = run(fields)
    (folder / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=rf"{name}, which tells .* Restore it, or copy model/ out"):
        reading_for(open_model(folder))


def test_a_pretraining_s_model_is_used_as_it_was_trained(model, tmp_path):
    from segtune.runs.pretrain_settings import load_pretrain_settings

    save_model(model, tmp_path / "base" / "model")
    settings = load_pretrain_settings(out=tmp_path / "base", data__bands=(3, 2, 1))
    settings.write(tmp_path / "base" / "pretraining.yaml")
    assert reading_for(open_model(tmp_path / "base")) == Reading(bands=(3, 2, 1))
