"""Networks of transformers behind the contract: what trains, which files open, what is missing said."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import MissingExtraError, ModelError
from segtune.core.types import Prompts
from segtune.models import FAMILIES
from segtune.models.open import open_model
from segtune.models.save import save_model
from segtune.models.tensors import read_safetensors, write_tensors
from segtune.models.transformers_family import BorrowedModel, TransformersModel

transformers = pytest.importorskip("transformers")

BORROWED = [name for name in sorted(FAMILIES) if issubclass(FAMILIES[name].model, BorrowedModel)]


@pytest.fixture(params=BORROWED)
def model(request: pytest.FixtureRequest) -> BorrowedModel:
    """A small random model of each family."""
    try:
        model = FAMILIES[request.param].tiny(torch.Generator().manual_seed(0))
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert isinstance(model, BorrowedModel)
    return model


@pytest.fixture
def sam2() -> Any:
    return FAMILIES["sam2"].tiny(torch.Generator().manual_seed(0))


def two_prompts() -> Prompts:
    """A click and a box."""
    return Prompts(
        torch.tensor([0, 0]),
        torch.tensor([[[20.0, 10.0]], [[0.0, 0.0]]]),
        torch.tensor([[1], [-10]]),
        torch.tensor([[0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 30.0, 20.0]]),
        torch.tensor([False, True]),
        torch.tensor([False, False]),
    )


def test_mixed_precision_moves_no_click(model: BorrowedModel) -> None:
    """Places of clicks, boxes and cells are the same bits in a bf16 training as in use; rounded, neighbours are one."""
    if not isinstance(model, TransformersModel):
        pytest.skip("this family makes no tokens of places")
    frame = model.preparation.frame((64, 48))
    with torch.no_grad():
        exact, positions = model._tokens(two_prompts(), (frame,))[0], model._positions()
        with torch.autocast("cpu", torch.bfloat16):
            mixed, mixed_positions = model._tokens(two_prompts(), (frame,))[0], model._positions()
    assert torch.equal(mixed, exact)
    assert torch.equal(mixed_positions, positions)


@pytest.mark.parametrize("scope", ["decoder", "decoder+prompt", "late:1", "full"])
def test_a_step_moves_what_is_named_and_nothing_else(model: BorrowedModel, scope: str) -> None:
    """After a step on a scope the loss is lower, what was named has moved and every other weight is bit-equal."""
    trainable = train_only(model.train(), scope)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    pixels, frames = model.prepare([image])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        found = model.decode(model.encode(pixels, frames), two_prompts(), torch.tensor([True, False]))
        loss = (found.logits[found.present] - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert moved <= set(trainable.names)
    assert trainable.encoder_frozen == (scope in {"decoder", "decoder+prompt"})
    assert not any(name.startswith("object_score_head.") for name in trainable.names)


def test_families_are_found_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The registry lists them; opening one without the package says the command that installs it."""
    save_model(FAMILIES["sam2"].tiny(torch.Generator().manual_seed(0)), tmp_path / "model")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "transformers":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert open_model("nano").family == "sam"
    with pytest.raises(MissingExtraError, match=r"SAM 2 models needs.*pip install 'segtune\[hf\]'"):
        open_model(tmp_path / "model")


def test_a_video_model_opens_by_its_image_part(sam2: Any, tmp_path: Path) -> None:
    """Hub checkpoints of SAM 2.1 are video models: their memory is set aside, everything else is read strictly."""
    config = sam2.network_config
    video = transformers.Sam2VideoModel(
        transformers.Sam2VideoConfig(
            vision_config=config.vision_config.to_dict(),
            prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
            mask_decoder_config={"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 24},
            image_size=64, memory_attention_hidden_size=32, memory_attention_num_layers=1,
            memory_attention_feed_forward_hidden_size=32, memory_encoder_hidden_size=32,
            memory_encoder_output_channels=16, mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32,
            memory_fuser_intermediate_dim=32, memory_fuser_num_layers=1, memory_attention_rope_feat_sizes=[4, 4],
        )
    )  # fmt: skip
    video.save_pretrained(tmp_path / "video")
    assert json.loads((tmp_path / "video" / "config.json").read_text())["model_type"] == "sam2_video"
    opened = open_model(tmp_path / "video")
    weights = video.state_dict()
    assert torch.equal(opened.state_dict()["mask_decoder.iou_token.weight"], weights["mask_decoder.iou_token.weight"])
    assert opened.state_dict().keys() == sam2.state_dict().keys()
    save_model(opened, tmp_path / "image")
    assert json.loads((tmp_path / "image" / "config.json").read_text())["model_type"] == "sam2"


def test_sam3_opens_by_its_tracker(tmp_path: Path) -> None:
    """Hub checkpoints of SAM 3 hold detector and tracker, who share the image encoder up to its neck."""
    tracker = FAMILIES["sam3"].tiny(torch.Generator().manual_seed(0))
    save_model(tracker, tmp_path / "tracker")
    state = {"detector_model.text_projection.weight": torch.zeros(1), "tracker_model.memory_encoder.x": torch.zeros(1)}
    for name, value in read_safetensors(tmp_path / "tracker" / "model.safetensors").items():
        if name.startswith("vision_encoder.backbone."):
            state[f"detector_model.{name}"] = value
        elif name.startswith("vision_encoder.neck."):
            state[f"tracker_neck.{name.removeprefix('vision_encoder.neck.')}"] = value
            state[f"detector_model.{name}"] = value + 1
        else:
            state[f"tracker_model.{name}"] = value
    whole = tmp_path / "sam3"
    whole.mkdir()
    config = json.loads((tmp_path / "tracker" / "config.json").read_text())
    config["model_type"] = "sam3_tracker_video"
    (whole / "config.json").write_text(json.dumps({"model_type": "sam3_video", "tracker_config": config}))
    write_tensors(whole / "model.safetensors", state)
    opened = open_model(whole)
    assert opened.preparation == tracker.preparation
    assert all(torch.equal(value, tracker.state_dict()[name]) for name, value in opened.state_dict().items())


def test_a_weight_missing_or_left_over_is_named(model: BorrowedModel, tmp_path: Path) -> None:
    """Files are read strictly."""
    save_model(model, tmp_path / "whole")
    state = read_safetensors(tmp_path / "whole" / "model.safetensors")
    lost = next(name for name in sorted(state) if name.startswith("mask_decoder."))
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    write_tensors(
        tmp_path / "part" / "model.safetensors",
        {name: value for name, value in state.items() if name != lost} | {"surprise": torch.zeros(1)},
    )
    with pytest.raises(ModelError, match=rf"1 missing \({lost}\) and 1 left over \(surprise\)"):
        open_model(tmp_path / "part")


def test_a_configuration_of_something_else_is_refused(sam2: Any, tmp_path: Path) -> None:
    """What transformers cannot build is one paragraph, not its traceback."""
    save_model(sam2, tmp_path / "model")
    told = json.loads((tmp_path / "model" / "config.json").read_text())
    told["vision_config"]["backbone_config"]["blocks_per_stage"] = "many"
    (tmp_path / "model" / "config.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="makes no SAM 2"):
        open_model(tmp_path / "model")


def test_medsam_in_a_name_says_nothing_of_sam2(sam2: Any, tmp_path: Path) -> None:
    """MedSAM2 is a SAM 2: it keeps SAM 2's preparation though its name contains MedSAM's."""
    save_model(sam2, tmp_path / "medsam2")
    (tmp_path / "medsam2" / "segtune.json").unlink()
    assert open_model(tmp_path / "medsam2").preparation == sam2.preparation


def test_large_mask_prompts_are_cut(sam2: Any) -> None:
    """Logits beyond 32 say no more than 32, as the published predictor hands them out."""
    pixels, frames = sam2.prepare([np.full((40, 60, 3), 90, np.uint8)])
    with torch.no_grad():
        embedding = sam2.encode(pixels, frames)
        masks = 50 * torch.randn(2, *sam2.mask_size, generator=torch.Generator().manual_seed(1))
        large, cut = (
            sam2.decode(embedding, two_prompts().with_masks(values), torch.tensor([True, False])).logits
            for values in (masks, masks.clamp(-32, 32))
        )
    assert torch.equal(large, cut)
