"""Training a base: from fresh weights or another's, on scenes and folders, told so that it can be done again."""

import json
import signal
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from small import stopped_elsewhere

from segtune.core.errors import DataError, ModelError, UsageError
from segtune.core.progress import SILENT
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.formats import FORMATS
from segtune.data.stream import stream
from segtune.evaluation import thresholds
from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.models.save import save_model
from segtune.runs import calibrate, pretrain_look
from segtune.runs import pretrain as module
from segtune.runs.folder import RunFolder
from segtune.runs.pretrain import pretrain
from segtune.runs.pretrain_data import PretrainSource
from segtune.runs.pretrain_settings import PretrainSettings, load_pretrain_settings
from segtune.runs.settings import load_settings
from segtune.runs.settings_tree import read_composed
from segtune.training import loop
from segtune.training.processes import Processes

SMALL = (
    "training.workers=0", "training.optimizer.batch=2", "training.optimizer.micro_batch=2",
    "training.prompts.corrections=1", "training.prompts.refinements=0", "training.optimizer.precision=fp32",
    "training.checkpoint_steps=1", "validation.images=2", "validation.every=2", "validation.modes=[box]",
)  # fmt: skip


def settings(out, *more, steps=3, **options):
    given = {"model__size": "micro", "device": "cpu", **options}
    return load_pretrain_settings(out=out, overrides=(*SMALL, *more), steps=steps, **given)


def weights(folder):
    return hash_weights(open_model(folder))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished pretraining: its folder and its result."""
    folder = tmp_path_factory.mktemp("pretraining") / "run"
    return folder, pretrain(settings(folder))


@pytest.fixture
def discs(tmp_path):
    """A folder of 12 images with a disc each, in SA-1B's layout."""
    FORMATS["sa1b"].write([disc(number) for number in range(12)], tmp_path / "discs")
    return tmp_path / "discs"


def disc(number):
    rows, columns = np.mgrid[:40, :56]
    mask = (rows - 20) ** 2 + (columns - 12 - 2 * number) ** 2 < 9**2
    # Of grounds that differ: what is like an image that is kept out takes no part.
    ground = np.random.default_rng(number).integers(0, 160, (5, 7)).repeat(8, 0).repeat(8, 1)
    image = np.where(mask, 220, ground).astype(np.uint8)[..., None].repeat(3, axis=2)
    return Sample(f"{number:02}.png", mask.shape, (RunLengths.encode(mask),), ("object",), lambda: image)


def test_the_result_opens_and_says_how_it_was_made(done):
    """model/ opens like any model; its record holds every setting; the steps are exactly those asked for."""
    folder, result = done
    assert result.steps == 3
    assert not result.stopped
    assert set(result.validation) == {"box"}
    assert open_model(folder).side == 64
    record = json.loads((folder / "model" / "segtune.json").read_text())
    assert record["settings"]["steps"] == record["steps"] == 3
    events = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3]
    assert [event["step"] for event in events if event["event"] == "epoch"] == [0, 2, 3]
    run = json.loads((folder / "run.json").read_text())
    assert run["torch_threads"] == torch.get_num_threads()
    assert run["started"] <= run["finished"]


def test_the_same_settings_give_the_same_bytes(done, tmp_path):
    """The seed decides weights, scenes and prompts; other scenes make another model."""
    pretrain(settings(tmp_path / "again"))
    pretrain(settings(tmp_path / "other", "data.first=100"))
    assert weights(tmp_path / "again") == weights(done[0]) != weights(tmp_path / "other")


def test_cut_off_and_resumed_it_ends_with_the_same_bytes(done, tmp_path, monkeypatch):
    """A pretraining that died at its third step is taken up by --resume and comes to the same weights."""
    steps, real = [], loop._step

    def dies(*arguments):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings(tmp_path / "run"))
    assert not (tmp_path / "run" / "model").exists()
    monkeypatch.undo()
    assert pretrain(load_pretrain_settings(out=tmp_path / "run"), resume=True).steps == 3
    assert weights(tmp_path / "run") == weights(done[0])


def test_with_drop_path_it_is_another_that_resumes_as_exactly(done, tmp_path, monkeypatch):
    """What is left out is drawn from the generator whose state a checkpoint keeps."""
    drops = "training.drop_path=0.5"
    pretrain(settings(tmp_path / "whole", drops))
    steps, real = [], loop._step
    monkeypatch.setattr(loop, "_step", lambda *given: steps.append(1) or real(*given))
    monkeypatch.setattr("segtune.runs.pretrain.StopOnInterrupt.__call__", lambda self: len(steps) == 2)
    assert pretrain(settings(tmp_path / "parts", drops)).stopped
    monkeypatch.undo()
    pretrain(load_pretrain_settings(out=tmp_path / "parts"), resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts") != weights(done[0])


def test_resumed_after_its_end_nothing_changes(done):
    """A finished pretraining is not trained further; asked for more steps it says what it was started with."""
    before = weights(done[0])
    assert pretrain(load_pretrain_settings(out=done[0]), resume=True).steps == 3
    assert weights(done[0]) == before
    with pytest.raises(UsageError, match=r"started with steps = 3"):
        pretrain(load_pretrain_settings(out=done[0], steps=9), resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_images_are_looked_over_it_ends_at_the_next(discs, tmp_path, monkeypatch, number):
    """Nothing is remembered of them; the result says that there is no model yet, and --resume begins with the look."""
    looked, look = [], pretrain_look.look_at_images

    def seen(images, progress):
        for one in look(images, progress):
            looked.append(one)
            if len(looked) == 3:
                signal.raise_signal(number)
            yield one

    monkeypatch.setattr(pretrain_look, "look_at_images", seen)
    result = pretrain(settings(tmp_path / "run", data__sources=(str(discs),), steps=1))
    assert (result.steps, result.stopped, result.in_start, len(looked)) == (0, True, True, 3)
    folder = RunFolder(tmp_path / "run")
    assert folder.pretraining.is_file()
    assert not any(path.exists() for path in (folder.sources, folder.fingerprints, folder.checkpoints, folder.model))
    monkeypatch.undo()
    assert pretrain(load_pretrain_settings(out=tmp_path / "run"), resume=True).steps == 1
    pretrain(settings(tmp_path / "whole", data__sources=(str(discs),), steps=1))
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_stopped_before_the_first_look_at_the_model_it_is_not_looked_at(done, tmp_path, monkeypatch):
    """Nor is a step done; --resume comes to the same weights."""
    real = module._assemble
    monkeypatch.setattr(module, "_assemble", lambda *given: signal.raise_signal(signal.SIGTERM) or real(*given))
    monkeypatch.setattr(module, "_validate", None)
    result = pretrain(settings(tmp_path / "run"))
    assert (result.steps, result.stopped, result.in_start) == (0, True, True)
    assert not (tmp_path / "run" / "checkpoints").exists()
    monkeypatch.undo()
    assert pretrain(load_pretrain_settings(out=tmp_path / "run"), resume=True).steps == 3
    assert weights(tmp_path / "run") == weights(done[0])


def test_another_process_that_was_asked_before_the_first_step_is_believed(tmp_path, monkeypatch):
    """The first one has looked the images over, and ends as the other one does."""
    monkeypatch.setattr(module, "joined", lambda device: nullcontext(stopped_elsewhere(monkeypatch, after=0)))
    result = pretrain(settings(tmp_path / "run"))
    assert (result.steps, result.stopped, result.in_start) == (0, True, True)
    assert (tmp_path / "run" / "sources.json").is_file()


def test_another_process_that_was_asked_to_stop_is_believed(done, tmp_path, monkeypatch):
    """The result and the record say so, what is told is of the weights that are saved, and --resume goes on."""
    looked, validate = [], module._validate

    def look(tree, model, *others):
        looked.append(loop.trained_weights(model))
        return validate(tree, model, *others)

    monkeypatch.setattr(module, "_validate", look)
    monkeypatch.setattr(module, "joined", lambda device: nullcontext(stopped_elsewhere(monkeypatch, after=1)))
    result = pretrain(settings(tmp_path / "run"))
    assert (result.steps, result.stopped) == (1, True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped"] is True
    saved = open_model(tmp_path / "run").state_dict()
    assert all(torch.equal(saved[name], value) for name, value in looked[-1].items())
    monkeypatch.undo()
    assert pretrain(load_pretrain_settings(out=tmp_path / "run"), resume=True).steps == 3
    assert weights(tmp_path / "run") == weights(done[0])


@pytest.mark.parametrize(
    ("said", "right"),
    [("training.steps=3", "--steps"), ("epochs=3", "--steps"), ("training.epoch_steps=3", r"validation\.every")],
)
def test_a_length_by_the_name_it_has_in_a_fit_is_refused(tmp_path, said, right):
    """A pretraining has steps and looks of its own: another word for them is told rather than passed over."""
    with pytest.raises(UsageError, match=f"has no effect on a pretraining.*{right}"):
        load_pretrain_settings(out=tmp_path, overrides=[said])
    name, _, value = said.partition("=")
    if name.startswith("training."):
        with pytest.raises(UsageError, match=right):
            load_pretrain_settings(out=tmp_path, **{name.replace(".", "__"): int(value)})


def test_settings_that_were_written_with_such_a_length_are_read(tmp_path):
    """Earlier ones may hold it from a --set that changed nothing."""
    path = tmp_path / "pretraining.yaml"
    path.write_text("steps: {value: 7, origin: command line}\ntraining.epochs: {value: 3, origin: --set}\n")
    recipe = read_composed(path, PretrainSettings).settings.recipe
    assert (recipe.steps, recipe.epochs) == (7, 1)


def test_sources_are_mixed_and_some_images_kept_out(discs, tmp_path, monkeypatch):
    """Scenes and a folder come by their shares; a tenth of the folder never trains."""
    seen = []
    monkeypatch.setattr(module, "stream", lambda parts, count: seen.append(parts) or stream(parts, count))
    pretrain(settings(tmp_path / "run", "data.shares=[1, 3]", data__sources=("scenes", str(discs)), steps=2))
    (scenes, first), (folder, second) = seen[0]
    assert (first, second) == (1, 3)
    assert (len(scenes), len(folder)) == (4, 11)


def test_scenes_with_cut_outs_train_another_model(done, discs, tmp_path):
    """Training scenes hold the pictures; where no scenes are drawn, or the folder has none, it is told."""
    (tmp_path / "cut").mkdir()
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[4:16, 6:24] = (220, 40, 40, 255)
    PIL.Image.fromarray(pixels).save(tmp_path / "cut" / "a.png")
    given = f"data.cutouts={tmp_path / 'cut'}"
    result = pretrain(settings(tmp_path / "with", given))
    assert weights(tmp_path / "with") != weights(done[0])
    assert set(result.validation) == {"box"}
    with pytest.raises(UsageError, match="none are drawn here"):
        pretrain(settings(tmp_path / "none", given, data__sources=(str(discs),)))
    with pytest.raises(UsageError, match="names no folder"):
        pretrain(settings(tmp_path / "share", "data.cutout_share=0.8"))
    with pytest.raises(DataError, match="has no cut-out"):
        pretrain(settings(tmp_path / "empty", f"data.cutouts={discs}"))


def test_going_on_from_another_at_a_larger_side(done, tmp_path):
    """A model trained small goes on at another side; one of another size is refused."""
    pretrain(settings(tmp_path / "large", "model.side=96", steps=1, model__init=str(done[0])))
    assert open_model(tmp_path / "large").side == 96
    assert weights(tmp_path / "large") != weights(done[0])
    with pytest.raises(UsageError, match="not of the size 'nano'"):
        pretrain(settings(tmp_path / "odd", model__size="nano", model__init=str(done[0])))
    with pytest.raises(UsageError, match="multiple of the patch of 8"):
        pretrain(settings(tmp_path / "odd", "model.side=70"))


@pytest.fixture
def base(tmp_path):
    """A model to go on from that believes in its masks, with thresholds of its own."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(1))
    model.thresholds = {"pred_iou_thresh": 0.123, "stability_score_thresh": 0.7}
    save_model(model, tmp_path / "base", extra={})
    return tmp_path / "base"


def test_its_end_fits_the_thresholds_of_everything_mode(base, tmp_path, monkeypatch):
    """On at most so many of the images kept out, of all sources alike; they are kept with the saved model."""
    seen, fit = [], module.fit_everything
    monkeypatch.setattr(
        module, "fit_everything", lambda model, images, *more: seen.append(images) or fit(model, images)
    )
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(thresholds, "MATCH", 0.0)  # masks of fresh weights are hardly of anything
    FORMATS["sa1b"].write([disc(number) for number in range(40)], tmp_path / "discs")
    given = {"model__init": str(base), "data__sources": ("scenes", str(tmp_path / "discs")), "steps": 1}
    result = pretrain(settings(tmp_path / "run", "validation.images=4", **given))
    assert set(result.thresholds) == {"pred_iou_thresh", "stability_score_thresh"}
    assert open_model(tmp_path / "run").thresholds == result.thresholds != open_model(base).thresholds
    (images,) = seen
    assert len(images) == 3
    assert (40, 56) in {sample.size for sample in images} != {(40, 56)}


def test_thresholds_of_another_model_do_not_stay(base, tmp_path, monkeypatch):
    """Where not one mask is of an object there are none; stopped, it has those it began with until it goes on."""

    def finds_nothing(*_):
        raise DataError("Of 768 masks not one is of any of the 2 objects")

    monkeypatch.setattr(calibrate, "fit_thresholds", finds_nothing)
    step = loop._step
    monkeypatch.setattr(loop, "_step", lambda *given: signal.raise_signal(signal.SIGTERM) or step(*given))
    result = pretrain(settings(tmp_path / "run", model__init=str(base)))
    assert (result.stopped, result.thresholds) == (True, {})
    assert open_model(tmp_path / "run").thresholds == open_model(base).thresholds
    monkeypatch.setattr(loop, "_step", step)
    result = pretrain(load_pretrain_settings(out=tmp_path / "run"), resume=True)
    assert (result.stopped, result.thresholds) == (False, {})
    assert open_model(tmp_path / "run").thresholds == {}
    record = json.loads((tmp_path / "run" / "model" / "segtune.json").read_text())
    assert record["steps"] == 3
    assert "everything" not in record


def test_mistakes_are_told_and_nothing_is_touched(done, discs, tmp_path):
    """A folder that holds a run, nothing to resume, shares that do not fit, too few images."""
    with pytest.raises(UsageError, match="already holds a run"):
        pretrain(settings(done[0]))
    with pytest.raises(ModelError, match="no pretraining to go on with"):
        pretrain(settings(tmp_path / "nothing"), resume=True)
    with pytest.raises(UsageError, match="1 sources but 2 shares"):
        pretrain(settings(tmp_path / "run", "data.shares=[1, 2]"))
    with pytest.raises(UsageError, match="above 0"):
        settings(tmp_path / "run", "data.shares=[0]")
    for path in sorted((discs / "images").iterdir())[:6]:
        path.unlink()
    with pytest.raises(DataError, match="at least 10"):
        pretrain(settings(tmp_path / "run", data__sources=(str(discs),)))
    assert not (tmp_path / "run").exists()


def test_without_an_object_to_look_at_it_is_told(micro):
    """As can be where files went bad: in words that are not those of a fit, which has a split."""
    empty = Dataset.of([replace(disc(number), objects=(), labels=()) for number in range(2)])
    source = PretrainSource(empty, empty, 1.0)
    with pytest.raises(DataError, match=r"None of the images that are kept out .* begin anew with another --out"):
        module._validate(settings("run").settings, micro, [source], Processes(), SILENT)


def test_a_base_of_nanos_size_is_tuned_like_nano(done, tmp_path):
    """What suits a base follows its size, also where the user has pretrained it."""
    (tmp_path / "pretraining.yaml").write_text("model.size: {value: nano, origin: default}")
    suited = load_settings(data="data", out="out", model=str(tmp_path)).settings
    assert suited.training.prompts.prompts_per_object == 3
    assert load_settings(data="data", out="out", model=str(done[0])).settings.model.train == "decoder+prompt"
    # Named by its model folder it is the same base.
    suited = load_settings(data="data", out="out", model=str(tmp_path / "model")).settings
    assert suited.training.prompts.prompts_per_object == 3


def test_a_stream_takes_its_shares_and_stays_the_same():
    """Rows come from their parts by share, every row always from the same place, under a name of its own."""
    parts = [(drawn_dataset(7, side=64, first=first), share) for first, share in ((0, 1.0), (500, 3.0))]
    drawn = stream(parts, 400)
    hashes = [drawn.image_hash(row) for row in range(400)]
    own = [{part.image_hash(row) for row in range(7)} for part, _ in parts]
    assert 60 < sum(one in own[0] for one in hashes) < 140
    assert set(hashes) == own[0] | own[1]
    assert hashes == [stream(parts, 400).image_hash(row) for row in range(400)]
    assert drawn[5].name == drawn.names[5] == "row-5"
