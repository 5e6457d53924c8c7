"""SAM 3 by phrases: transformers' own masks, chosen by prompts, opened by the phrase behind its name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import ModelError, UsageError
from segtune.core.progress import SILENT
from segtune.core.spec import part_phrase
from segtune.core.types import MaskPrediction, Prompts
from segtune.models import FAMILIES
from segtune.models.open import open_model
from segtune.models.save import RECORD, save_model
from segtune.models.tensors import read_safetensors, write_tensors
from segtune.runs.adapter import write_adapter
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.rehearsal import make_reference
from segtune.segment.session import Session
from segtune.segment.text import TextDetector
from segtune.segment.views import averaged
from segtune.training.recipe import KeepRecipe, TuningRecipe

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

PHRASES = ("dog", "god")


@pytest.fixture(scope="module")
def model() -> Any:
    """A small random one that looks for "dog"."""
    return FAMILIES["sam3_concepts"].tiny(torch.Generator().manual_seed(0))


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    """The same as transformers would have written it: without a word of ours."""
    save_model(model, tmp_path / "sam3")
    (tmp_path / "sam3" / RECORD).unlink()
    return tmp_path / "sam3"


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def ask(model: Any, image: np.ndarray, prompts: Prompts, multimask: bool = False) -> MaskPrediction:
    pixels, frames = model.prepare([image])
    with torch.no_grad():
        found: MaskPrediction = model.decode(
            model.encode(pixels, frames), prompts, torch.full((len(prompts),), multimask)
        )
    return found


def prompts_of(
    count: int = 1, *, clicks: Any = (), box: Any = None, mask: torch.Tensor | None = None, text: Any = None
) -> Prompts:
    """The same prompt `count` times: clicks as x, y, label."""
    places = torch.tensor(clicks, dtype=torch.float32).reshape(1, -1, 3).expand(count, -1, -1)
    return Prompts(
        torch.zeros(count, dtype=torch.int64), places[..., :2], places[..., 2].long(),
        torch.tensor([box or [0.0] * 4] * count), torch.full((count,), box is not None),
        torch.full((count,), mask is not None), None if mask is None else mask.expand(count, -1, -1), text,
    )  # fmt: skip


def candidates(model: Any, image: np.ndarray, phrase: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers' own class says of a phrase: logits of every query, and how likely each is."""
    published = transformers.Sam3Model.from_pretrained(folder).eval()
    given = model.tokenizer([phrase], return_tensors="pt", padding="max_length", max_length=32)
    with torch.no_grad():
        said = published(pixel_values=model.prepare([image])[0], **given)
    return said.pred_masks[0], (said.pred_logits.sigmoid() * said.presence_logits.sigmoid())[0]


@pytest.mark.parametrize("phrase", PHRASES)
def test_it_answers_with_masks_of_transformers_own(model: Any, image: np.ndarray, folder: Path, phrase: str) -> None:
    """Without a place the likeliest masks answer, each with its chance as quality; a prompt's text is what counts."""
    masks, chances = candidates(model, image, phrase, folder)
    found = ask(model, image, prompts_of(text=(phrase,)), multimask=True)
    order = chances.topk(3).indices
    torch.testing.assert_close(found.logits[0], masks[order], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.quality[0], chances[order], rtol=0, atol=1e-5)


def test_phrases_differ_and_the_models_own_is_what_a_prompt_without_text_means(model: Any, image: np.ndarray) -> None:
    both = ask(model, image, prompts_of(2, text=PHRASES))
    assert not torch.allclose(both.logits[0], both.logits[1])
    own = ask(model, image, prompts_of())
    torch.testing.assert_close(own.logits[0], both.logits[0], rtol=0, atol=1e-4)


def with_masks(model: Any, monkeypatch: pytest.MonkeyPatch, masks: torch.Tensor, chances: list[float]) -> Any:
    """The model, made to find these masks of whatever it is asked."""
    monkeypatch.setattr(model.mask_decoder, "forward", lambda *_: (masks[None], torch.tensor([chances])))
    return model


@pytest.fixture
def finds(model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that finds the left half, the right half, the upper left quarter and nothing, in that order."""
    masks = torch.full((4, *model.mask_size), -8.0)
    half = model.mask_size[0] // 2
    masks[0, :, :half] = 8
    masks[1, :, half:] = 8
    masks[2, :half, :half] = 8
    return with_masks(copy.deepcopy(model), monkeypatch, masks, [0.6, 0.9, 0.5, 0.95])


def chosen(found: MaskPrediction) -> list[int]:
    """Which of the masks of `finds` answers each prompt, by its area and side."""
    sizes = [(float((one > 0).float().mean()), bool(one[0, -1] > 0)) for one in found.logits[:, 0]]
    return [{(0.5, False): 0, (0.5, True): 1, (0.25, False): 2, (0.0, False): 3}[size] for size in sizes]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"clicks": [(10, 10, 1)]}, 0),  # in the half and in its quarter: the likelier
        ({"clicks": [(50, 10, 1)]}, 1),
        ({"clicks": [(10, 10, 1), (10, 35, 0)]}, 2),  # not the half's lower part
        ({"clicks": [(10, 10, 0), (50, 30, 0)]}, 3),
        ({"box": [30.0, 0.0, 60.0, 40.0]}, 1),
        ({"box": [0.0, 0.0, 31.0, 21.0]}, 2),
    ],
)
def test_a_place_chooses(finds: Any, image: np.ndarray, place: dict[str, Any], expected: int) -> None:
    assert chosen(ask(finds, image, prompts_of(**place))) == [expected]


def test_a_mask_chooses(finds: Any, image: np.ndarray) -> None:
    """A rough drawing of the quarter, though the half around it is likelier."""
    rough = torch.full(finds.mask_size, -3.0)
    rough[1:14, 2:17] = 3.0
    assert chosen(ask(finds, image, prompts_of(mask=rough[None]))) == [2]


def test_of_three_masks_the_best_has_the_highest_quality(finds: Any, image: np.ndarray) -> None:
    """Likelier masks that the click is not on come behind it, and say so."""
    found = ask(finds, image, prompts_of(clicks=[(10, 10, 1)]), multimask=True)
    assert found.best().tolist() == [0]
    assert float(found.quality[0, 0]) == pytest.approx(0.6)
    assert float(found.quality[0, 1]) == pytest.approx(0.5)  # goes with the click as well
    assert float(found.quality[0, 2]) < 0.01


@pytest.mark.parametrize(
    "place",
    [
        {"box": [5.0, 5.0, 9.0, 9.0]},  # where all masks are far larger
        {"clicks": [(10, 10, 0), (50, 30, 0)]},  # on none of the halves: the empty mask goes with it
        {"clicks": [(10, 10, 1), (50, 10, 1)]},  # in no mask together
    ],
)
def test_quality_tells_what_does_not_fit(finds: Any, image: np.ndarray, place: dict[str, Any]) -> None:
    """However likely a mask is, a prompt it does not go with gets no high quality; the one that fits keeps its own."""
    found = ask(finds, image, prompts_of(**place), multimask=True)
    assert found.quality.isfinite().all()
    fits = place == {"clicks": [(10, 10, 0), (50, 30, 0)]}
    assert float(found.quality[0, 0]) == pytest.approx(0.95) if fits else float(found.quality.max()) < 0.15


def test_a_rough_box_costs_no_quality(finds: Any, image: np.ndarray) -> None:
    """Half of an overlap is enough: boxes are loose."""
    found = ask(finds, image, prompts_of(box=[24.0, 0.0, 60.0, 40.0]))
    assert chosen(found) == [1]
    assert float(found.quality[0, 0]) == pytest.approx(0.9)


def test_an_image_is_looked_at_once_a_phrase(model: Any, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks after the first cost no look, until the image, the phrase or a weight is another; copies begin anew."""
    model = copy.deepcopy(model)
    looked: list[int] = []
    monkeypatch.setattr(model, "_look_anew", counting(model, looked))
    pixels, frames = model.prepare([image])
    clicks = [prompts_of(clicks=[(x, 10, 1)]) for x in (10, 50)]
    with torch.no_grad():
        embedding, other = model.encode(pixels, frames), model.encode(pixels, frames)

        def answer(embedding: Any, prompts: Prompts) -> torch.Tensor:
            logits: torch.Tensor = model.decode(embedding, prompts, torch.tensor([True])).logits
            return logits

        first = [answer(embedding, one) for one in clicks]
        assert looked == [1]
        answer(other, clicks[0])
        answer(embedding, prompts_of(clicks=[(10, 10, 1)], text=("god",)))
        assert looked == [1] * 3
        again = answer(embedding, clicks[0])
        assert torch.equal(again, first[0])
        assert looked == [1] * 4
        model.mask_decoder.mask_decoder.mask_embedder.layers[2].weight.mul_(2)
        assert not torch.allclose(answer(embedding, clicks[0]), first[0])
        model.prompt_encoder.text_encoder.get_submodule("text_model.embeddings.token_embedding").weight.mul_(2)
        answer(embedding, clicks[0])
        assert looked == [1] * 6


def counting(model: Any, looked: list[int]) -> Any:
    real = model._look_anew

    def look(embedding: Any, lookups: Any) -> Any:
        looked.append(len(lookups))
        return real(embedding, lookups)

    return look


def test_the_text_encoder_is_nobodys_to_train(model: Any) -> None:
    """One phrase teaches no language: what reads it stays as it was, whatever trains."""
    names = [name for name, _ in model.named_parameters()]
    assert not any("text_encoder" in name for name in names)
    assert any("text_projection" in name for name in names)


def test_masks_without_an_order_are_neither_averaged_nor_held_slot_by_slot(model: Any) -> None:
    with pytest.raises(UsageError, match=r"may be the second in another. Leave --tta out"):
        averaged(model, ["flip"])
    assert averaged(model, []) is model
    recipe = TuningRecipe(keep=KeepRecipe(distill=0.5))
    with pytest.raises(UsageError, match=r"training.keep.distill is 0.5.*masks of a sam3_concepts model"):
        make_reference(recipe, model, lambda: model)
    assert make_reference(TuningRecipe(keep=KeepRecipe(l2_start=0.1)), model, lambda: model) is not None


def test_the_phrase_stands_behind_the_name(folder: Path) -> None:
    assert open_model(f"{folder}#  brown   dog ").phrase == "brown dog"
    with pytest.raises(ModelError, match=r"no.* was given. Write it behind the model, as in '.*sam3#polyp'"):
        open_model(folder)
    with pytest.raises(ModelError, match="'nano' understands boxes, masks, points, not text"):
        open_model("nano#dog")


def test_a_saved_model_remembers_its_phrase(model: Any, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model")
    assert open_model(tmp_path / "model").phrase == "dog"
    assert open_model(f"{tmp_path / 'model'}#cat").phrase == "cat"


def test_a_folder_is_called_what_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "run #3").mkdir()
    inside = str(tmp_path / "run #3" / "model")
    assert part_phrase(inside) == (inside, "")
    assert part_phrase(f"sam3#{'very ' * 80}long") == ("sam3", f"{'very ' * 80}long")
    assert part_phrase(tmp_path / "run #3") == (str(tmp_path / "run #3"), "")
    assert part_phrase(f"{tmp_path / 'run #3'}#dog") == (str(tmp_path / "run #3"), "dog")
    assert part_phrase("facebook/sam3") == ("facebook/sam3", "")


def test_a_run_is_not_found_by_half_of_another_s_name(tmp_path: Path, model: Any) -> None:
    """What was made in "exp#4", which has gone, is not of the run "exp"; of a run by phrases another may be asked."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "settings.yaml").touch()
    assert run_of(tmp_path / "exp") is not None
    assert run_of(tmp_path / "exp#4") is None
    save_model(model, tmp_path / "exp" / "model")
    found = run_of(f"{tmp_path / 'exp'}#flat dog")
    assert found is not None
    assert found.path == tmp_path / "exp"


def test_an_adapter_is_found_from_anywhere(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base named relative to where it was trained; the base put beside it without a word of ours; another phrase."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    save_model(model, tmp_path / "sam3")
    (tmp_path / "sam3" / RECORD).unlink()
    monkeypatch.chdir(tmp_path)
    tuned = open_model("sam3#dog")
    train_only(tuned, "lora:r=2,in=decoder")
    run = RunFolder(tmp_path / "run")
    assert tuned.attached is not None
    base = open_model("sam3#dog")
    write_adapter(run, tuned, tuned.attached, {"base": "sam3#dog"}, base=base, progress=SILENT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert open_model(run.adapter).phrase == "dog"
    assert open_model(f"{run.adapter}#god").phrase == "god"
    (tmp_path / "sam3").rename(run.adapter / "base")
    assert open_model(run.adapter).phrase == "dog"


def test_a_phrase_opens_the_detector_of_what_holds_the_tracker_too(folder: Path, tmp_path: Path) -> None:
    """Hub checkpoints of SAM 3 hold both; without a phrase it is the tracker."""
    save_model(FAMILIES["sam3"].tiny(torch.Generator().manual_seed(0)), tmp_path / "tracker")
    tracker = read_safetensors(tmp_path / "tracker" / "model.safetensors")
    detector = read_safetensors(folder / "model.safetensors")
    state = {f"detector_model.{name}": value for name, value in detector.items()}
    for name, value in tracker.items():
        if name.startswith("vision_encoder.neck."):
            state[f"tracker_neck.{name.removeprefix('vision_encoder.neck.')}"] = value
        elif not name.startswith("vision_encoder.backbone."):
            state[f"tracker_model.{name}"] = value
    configs = [json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "tracker")]
    config = {
        "model_type": "sam3_video", "detector_config": configs[0],
        "tracker_config": configs[1] | {"model_type": "sam3_tracker_video"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_tensors(folder / "model.safetensors", state)
    assert open_model(folder).family == "sam3"
    found = open_model(f"{folder}#dog")
    assert found.family == "sam3_concepts"
    names = {"prompt_encoder.text_projection.weight": "text_projection.weight", "geometry_encoder.cls_embed.weight": ""}
    for ours, theirs in names.items():
        assert torch.equal(found.state_dict()[ours], detector[theirs or ours])
    # The processor's file is the detector's, which wants images as the tracker does.
    assert found.preparation == open_model(folder).preparation


def test_without_a_tokenizer_it_says_what_is_missing(folder: Path) -> None:
    for path in folder.glob("token*"):
        path.unlink()
    with pytest.raises(ModelError, match="holds SAM 3 but no tokenizer"):
        open_model(f"{folder}#dog")


def test_a_session_asks_by_text(model: Any, image: np.ndarray, folder: Path) -> None:
    """Alone, for the likeliest of what it names; a model that reads none says so."""
    masks, chances = candidates(model, image, "god", folder)
    answer = Session(model, image).segment(text=" god ", several=False)
    torch.testing.assert_close(answer.mask.logits, masks[chances.argmax()], rtol=0, atol=1e-4)
    with pytest.raises(ModelError, match="not text: it was asked for 'god'"):
        Session(open_model("nano"), image).segment(text="god")


def test_what_transformers_saves_opens_here(model: Any, folder: Path, tmp_path: Path) -> None:
    """Model and tokenizer by `save_pretrained`; and weights kept in half the space open in fp32."""
    transformers.Sam3Model.from_pretrained(folder).save_pretrained(tmp_path / "theirs")
    model.tokenizer.save_pretrained(tmp_path / "theirs")
    save_model(model, tmp_path / "half", half=True)
    for name, tolerance in (("theirs", 0), ("half", 1e-3)):
        opened = open_model(f"{tmp_path / name}#dog")
        assert type(opened) is type(model)
        assert opened.preparation == model.preparation
        for weight, value in opened.state_dict().items():
            torch.testing.assert_close(value, model.state_dict()[weight], rtol=tolerance, atol=tolerance)


def test_what_is_saved_is_a_detector(model: Any, image: np.ndarray, folder: Path) -> None:
    """`--detector RUN/model` reads it as any SAM 3."""
    found = TextDetector.open(folder).find(image, ["dog"], threshold=0.0)
    _, chances = candidates(model, image, "dog", folder)
    assert max(one.score for one in found) == pytest.approx(float(chances.max()), abs=1e-5)


def test_nothing_is_dropped_out_in_training(model: Any, image: np.ndarray) -> None:
    """An answer is that of its prompt, in training too; the configuration that is written keeps the published rate."""
    training = copy.deepcopy(model).train()
    prompts = prompts_of(clicks=[(10, 10, 1)])
    assert torch.equal(ask(training, image, prompts).logits, ask(model, image, prompts).logits)
    assert model.network_config.detr_encoder_config.dropout > 0
