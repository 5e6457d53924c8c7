"""Who takes part in an evaluation, and which images are scored."""

import json
import shutil

import pytest
from disc_data import write_discs

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT
from segtune.data.dataset import open_dataset
from segtune.data.fingerprints import fingerprints
from segtune.runs.data import prepare_data
from segtune.runs.evaluate import Contestant, _describe_data, name_contestants, name_entrants, select
from segtune.runs.folder import RunFolder
from segtune.runs.known import open_as_trained
from segtune.runs.settings import load_settings
from segtune.segment.refine import parse_cleanup


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Twelve images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 12)


@pytest.fixture(scope="module")
def run(discs, tmp_path_factory):
    """The folder of a run on them, as it is before training, each connected part an object."""
    settings = load_settings(data=discs, out=tmp_path_factory.mktemp("run"), data__objects="parts")
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "first")
    prepare_data(settings.settings.data, folder)
    settings.write(folder.settings)
    return folder


def _parts(run):
    return json.loads(run.split.read_text())


def _chosen(data, run, *, split=None, part=None):
    contestants = [Contestant("tuned", str(run.path), run), Contestant("nano", "nano", None)]
    return select(open_dataset(data), contestants, split, part, SILENT)


def _write_run(folder, base):
    load_settings(data="d", out=folder, model=base).write(folder / "settings.yaml")
    return str(folder)


def test_a_base_is_prepared_as_the_fit_was_told(tmp_path):
    """Its files say nothing of it; prepared otherwise it would do worse, and the gain look larger."""
    (tmp_path / "run").mkdir()
    overrides = ["model.preparation=stretched"]
    load_settings(data="d", out=tmp_path / "run", model="w.pth", overrides=overrides).write(
        tmp_path / "run" / "settings.yaml"
    )
    found = name_contestants([str(tmp_path / "run"), "w.pth", "nano"])
    assert [(one.name, one.preparation) for one in found] == [
        ("tuned", None), ("pretrained", "stretched"), ("nano", None)
    ]  # fmt: skip


def test_a_run_and_its_base_are_tuned_and_pretrained(tmp_path):
    """The first run and what it started from are known by what they are, all others by their own names."""
    first = _write_run(tmp_path / "first", "facebook/sam-vit-base")
    other = _write_run(tmp_path / "other", "facebook/sam-vit-large")
    found = name_contestants([first, "facebook/sam-vit-base", "facebook/sam-vit-large", other])
    assert [one.name for one in found] == ["tuned", "pretrained", "sam-vit-large", "other"]
    assert [one.run is not None for one in found] == [True, False, False, True]


def test_a_run_that_is_compared_with_is_not_the_tuned_one(tmp_path):
    """Where the first model is no run nothing is called tuned or pretrained, whatever the others are."""
    run = _write_run(tmp_path / "run", "nano")
    assert [one.name for one in name_contestants(["facebook/sam-vit-base", run, "nano"])] == [
        "sam-vit-base", "run", "nano",
    ]  # fmt: skip


def test_models_of_one_name_are_told_apart(tmp_path):
    """The second of two folders of one name is named by its place too."""
    first, second = str(tmp_path / "a" / "model"), str(tmp_path / "b" / "model")
    assert [one.name for one in name_contestants([first, second])] == ["model", f"model ({second})"]


def test_what_is_averaged_and_cleaned_says_so():
    """Each model's name, then the views, then the clean-up; without either nobody takes part twice."""
    assert name_entrants(["tuned", "nano"], ["flips", "scale"], parse_cleanup("largest,holes=9")) == {
        "tuned": "tuned + flips + scale + holes=9,largest",
        "nano": "nano + flips + scale + holes=9,largest",
    }
    assert name_entrants(["nano"], ["flip"], None) == {"nano": "nano + flip"}
    assert name_entrants(["nano"], [], None) == {}


def test_a_model_is_not_compared_with_itself():
    """Naming it twice is refused."""
    with pytest.raises(UsageError, match="twice: nano, nano"):
        name_contestants(["nano", "nano"])


def test_a_run_s_own_test_images_are_scored(discs, run):
    """On the data of a compared run it is the stored test part, which that run has not seen."""
    chosen = _chosen(discs, run)
    assert (chosen.part, chosen.leaks) == ("test", 0)
    assert chosen.dataset.names == tuple(_parts(run)["test"])
    assert chosen.split.sha256 == _parts(run)["sha256"]


def test_data_that_was_moved_is_still_the_run_s(discs, run, tmp_path):
    """The same names and pixels elsewhere, more images beside them: the stored test part is scored."""
    moved = write_discs(tmp_path / "moved", 15, seed=8)
    shutil.copytree(discs, moved, dirs_exist_ok=True)
    chosen = _chosen(moved, run)
    assert (chosen.part, chosen.dataset.names) == ("test", tuple(_parts(run)["test"]))


def test_other_images_under_the_same_names_are_other_data(run, tmp_path):
    """A run's split means nothing for them: all are scored."""
    chosen = _chosen(write_discs(tmp_path / "other", 12, seed=8), run)
    assert (chosen.part, chosen.split, len(chosen.dataset)) == ("all", None, 12)


def test_what_a_run_has_learned_from_is_left_out_of_other_data(discs, run, tmp_path):
    """Copies under other names are found by their pixels and counted, new images are scored."""
    data = write_discs(tmp_path / "other", 4, seed=8)
    known = _parts(run)["train"][0]
    for kind in ("images", "masks"):
        shutil.copy(discs / kind / known.rsplit("/", 1)[-1], data / kind / "copy.png")
    chosen = _chosen(data, run)
    assert chosen.dataset.names == tuple(f"images/{number:03}.png" for number in range(4))
    assert (chosen.left_out["images"], chosen.left_out["exact"], chosen.leaks) == (1, 1, 0)


def test_what_a_pretraining_has_seen_is_left_out(discs, run, tmp_path):
    """It keeps its own name, has no split, and what it has seen is not scored; nor what a base of it has seen."""
    base = RunFolder(tmp_path / "base")
    (base.path / "model").mkdir(parents=True)
    base.pretraining.touch()
    seen = open_dataset(discs)[:5]
    fingerprints(seen).write(base.fingerprints)
    for spec in (str(base.path), str(base.model)):
        contestants = name_contestants([spec, "nano"])
        assert [one.name for one in contestants] == [spec.rsplit("/", 1)[-1], "nano"]
        dataset, _ = open_as_trained(discs, [one.run for one in contestants])
        chosen = select(dataset, contestants, None, None, SILENT)
        assert (chosen.part, chosen.left_out["images"], chosen.leaks) == ("all", 5, 0)
        assert set(chosen.dataset.names) == set(dataset.names) - set(seen.names)


def test_a_run_s_model_folder_is_the_run(discs, run):
    """RUN/model is scored on what RUN is: its stored test part, read as the run did."""
    contestants = name_contestants([str(run.model)])
    assert contestants[0].name == "tuned"
    dataset, _ = open_as_trained(discs, [one.run for one in contestants])
    assert dataset.objects == "parts"
    assert select(dataset, contestants, None, None, SILENT).dataset.names == tuple(_parts(run)["test"])


def test_a_part_that_was_named_is_scored_whole_and_its_leaks_are_counted(discs, run):
    """Whoever says --part train gets it: nothing is left out, and the report hears of every image."""
    chosen = _chosen(discs, run, part="train")
    assert chosen.dataset.names == tuple(_parts(run)["train"])
    assert (chosen.left_out, chosen.leaks) == ({}, len(chosen.dataset))
    everything = _chosen(discs, run, part="all")
    assert len(everything.dataset) == 12
    assert everything.leaks == len(_parts(run)["train"]) + len(_parts(run)["val"])


def test_a_split_of_one_s_own_comes_before_the_run_s(discs, run, tmp_path):
    """Its test part is scored, less what the run has learned from; names may be stems."""
    unseen, known = _parts(run)["test"][0], _parts(run)["train"][0]
    stems = [name.rsplit("/", 1)[-1].removesuffix(".png") for name in (known, unseen)]
    (tmp_path / "test.txt").write_text("\n".join(stems))
    chosen = _chosen(discs, run, split=tmp_path / "test.txt")
    assert (chosen.part, chosen.dataset.names) == ("test", (unseen,))
    assert chosen.left_out["images"] == 1


def test_patients_in_several_parts_of_the_split_are_counted(run, tmp_path):
    """Where a model has learned from one of a patient's images and is scored on another; else nobody is flattered."""
    data = write_discs(tmp_path / "data", 12)
    dataset = open_dataset(data)
    patients = dict(zip(dataset.names, "aabbccddeeff", strict=True))
    rows = [f"{name.rsplit('/', 1)[-1].removesuffix('.png')},{patient}" for name, patient in patients.items()]
    (data / "groups.csv").write_text("\n".join(["name,patient", *rows]))
    names = dataset.names
    split = {"train": names[:5], "val": names[5:8], "test": names[8:]}
    (tmp_path / "split.json").write_text(json.dumps(split))

    def told(part, *, learned):
        chosen = _chosen(data, run, split=tmp_path / "split.json", part=part)
        return _describe_data(data, open_dataset(data), chosen, has_learned=learned)["dataset"].get("parted_groups")

    assert [told("test", learned=True), told("test", learned=False), told("all", learned=True)] == [1, None, None]


def test_nothing_left_is_an_error_that_names_the_way_out(discs, run, tmp_path):
    """Where a run knows every image there is no fair test: --part all scores them knowingly."""
    known = _parts(run)["train"][0].rsplit("/", 1)[-1]
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        shutil.copy(discs / kind / known, tmp_path / "data" / kind / "a.png")
    with pytest.raises(DataError, match=r"Each of the 1 images.*--part all"):
        _chosen(tmp_path / "data", run)
    assert _chosen(tmp_path / "data", run, part="all").leaks == 1


def test_a_part_needs_a_split(discs):
    """Without a run on the data there is none, and the error says how to give one; "all" needs none."""
    with pytest.raises(UsageError, match=r"--part val needs a split.*--split"):
        select(open_dataset(discs), [Contestant("nano", "nano", None)], None, "val", SILENT)
    assert len(select(open_dataset(discs), [Contestant("nano", "nano", None)], None, "all", SILENT).dataset) == 12


def test_an_object_is_what_the_run_says_unless_told_otherwise(discs, run, tmp_path):
    """On a run's data as it was trained, the command line first; on other data as if there were no run."""
    other = write_discs(tmp_path / "other", 4, seed=8)
    assert open_as_trained(discs, [run])[0].objects == "parts"
    assert open_as_trained(discs, [run], objects="labels")[0].objects == "labels"
    assert open_as_trained(other, [run])[0].objects == "whole"


def test_data_of_another_format_than_the_run_s_opens_all_the_same(run, tmp_path):
    """What cannot be read as the run's data is read as what it is."""
    data = write_discs(tmp_path / "data", 3, seed=8)
    settings = load_settings(data="d", out="o", data__format="nifti")
    settings.write(tmp_path / "run" / "settings.yaml")
    found, _ = open_as_trained(data, [RunFolder(tmp_path / "run")])
    assert (found.format, len(found)) == ("mask_folder", 3)


def test_a_blend_s_data_is_read_as_its_run_reads_it(discs, run, tmp_path):
    """It has no settings of its own, but knows the run that it was made from."""
    blend = RunFolder(tmp_path / "blend")
    blend.model.mkdir(parents=True)
    for source, target in ((run.split, blend.split), (run.fingerprints, blend.fingerprints)):
        shutil.copy(source, target)
    (blend.model / "segtune.json").write_text(json.dumps({"blend": {"run": str(run.path)}}))
    assert open_as_trained(discs, [blend])[0].objects == "parts"
    (blend.model / "segtune.json").write_text(json.dumps({"blend": {"run": str(tmp_path / "gone")}}))
    assert open_as_trained(discs, [blend])[0].objects == "whole"
