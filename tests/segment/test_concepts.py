"""Phrases through a small SAM 3 with random weights."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from segtune.cli import main
from segtune.core.errors import ModelError
from segtune.models.tensors import read_safetensors, write_tensors
from segtune.segment.concepts import ConceptProcessor
from segtune.segment.text import TextDetector, find_by_text

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

WORDS = ["!", *"acdgot", *(f"{letter}</w>" for letter in "acdgot"), "ca", "cat</w>", "do", "dog</w>"]
WORDS += ["<|startoftext|>", "<|endoftext|>"]


def small_config():
    """Every part of SAM 3, at a size of milliseconds."""
    width = {"hidden_size": 32, "num_attention_heads": 2}
    layers = width | {"num_layers": 1, "intermediate_size": 32}
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 56, "patch_size": 7, "window_size": 4, "global_attn_indexes": [1],
            "pretrain_image_size": 28,
        },
        "fpn_hidden_size": 32, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }  # fmt: skip
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": len(WORDS), "max_position_embeddings": 32, "projection_dim": 16,
    }  # fmt: skip
    return transformers.Sam3Config(
        vision_config=vision, text_config=text, geometry_encoder_config=layers, detr_encoder_config=layers,
        detr_decoder_config=layers | {"num_queries": 6}, mask_decoder_config=width,
    )  # fmt: skip


@pytest.fixture(scope="module")
def concepts(tmp_path_factory):
    """A SAM 3 of a few thousand weights, saved as a folder."""
    folder = tmp_path_factory.mktemp("concepts")
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\nd o\ndo g</w>\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=32)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = transformers.Sam3Model(small_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def test_boxes_are_those_of_the_model(concepts):
    """What is found lies in the image, and is what the model itself says of the phrase on it."""
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    found = TextDetector.open(concepts).find(image, ["cat", "dog"], threshold=0.0)
    assert {one.phrase for one in found} == {"cat", "dog"}
    for one in found:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 < x1 <= 60
        assert 0 <= y0 < y1 <= 40
        assert 0 < one.score < 1
    model = transformers.Sam3Model.from_pretrained(concepts).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(concepts)
    given = tokenizer(["dog"], return_tensors="pt", padding="max_length", max_length=32)
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].float(), (56, 56), mode="bilinear", antialias=True
    )
    with torch.no_grad():
        said = model(pixel_values=pixels / 127.5 - 1, **given)
    best = float((said.pred_logits.sigmoid() * said.presence_logits.sigmoid()).max())
    assert max(one.score for one in found if one.phrase == "dog") == pytest.approx(best, abs=1e-5)


def test_a_phrase_alone_is_as_among_others(concepts):
    """Phrases are asked for one at a time."""
    image = np.random.default_rng(1).integers(0, 256, (50, 30, 3), dtype=np.uint8)
    detector = TextDetector.open(concepts)
    together = detector.find(image, ["cat", "dog"], threshold=0.0)
    assert [one for one in together if one.phrase == "dog"] == detector.find(image, ["dog"], threshold=0.0)


def test_the_detector_beside_a_tracker_is_the_same(concepts, tmp_path):
    """Hub checkpoints of SAM 3 hold both: the detector's weights lie under its name."""
    for path in concepts.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((concepts / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": config}))
    state = read_safetensors(concepts / "model.safetensors")
    write_tensors(
        tmp_path / "model.safetensors",
        {f"detector_model.{name}": value for name, value in state.items()} | {"tracker_neck.x": torch.zeros(1)},
    )
    image = np.random.default_rng(2).integers(0, 256, (50, 30, 3), dtype=np.uint8)
    both, alone = (TextDetector.open(folder).find(image, ["cat"], threshold=0.0) for folder in (tmp_path, concepts))
    assert both == alone


def test_scores_count_whether_the_phrase_is_there_at_all():
    """A sure query in an image without the phrase counts for nothing; boxes come to pixels."""
    outputs = SimpleNamespace(
        pred_logits=torch.tensor([[9.0, -9.0], [9.0, 9.0]]), presence_logits=torch.tensor([[9.0], [-9.0]]),
        pred_boxes=torch.tensor([[[0.1, 0.2, 0.5, 0.6]] * 2] * 2),
    )  # fmt: skip
    first, second = ConceptProcessor(None, 56).post_process_grounded_object_detection(outputs, 0.5, [(40, 60)] * 2)
    torch.testing.assert_close(first["boxes"], torch.tensor([[6.0, 8.0, 30.0, 24.0]]))
    assert len(second["scores"]) == 0


def test_a_finder_of_sam3_asks_for_boxes(concepts):
    """`--text` with SAM 3 as its detector gives wishes for any base."""
    finder = find_by_text("cat, dog", str(concepts), threshold=0.0)
    wishes = finder(np.full((40, 60, 3), 90, np.uint8))
    assert wishes
    assert {wish.label for wish in wishes} <= {"cat", "dog"}
    assert all(wish.box is not None for wish in wishes)


def test_a_damaged_folder_is_one_paragraph(concepts, tmp_path):
    (tmp_path / "config.json").write_text((concepts / "config.json").read_text())
    with pytest.raises(ModelError, match="could not be opened"):
        TextDetector.open(tmp_path)


def test_the_command_line_segments_what_a_phrase_names(concepts, tmp_path, capsys):
    """From the phrase by the detector's boxes to masks in a file, each under its phrase."""
    (tmp_path / "images").mkdir()
    image = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "images" / "one.png")
    words = ["segment", "nano", str(tmp_path / "images"), "--out", str(tmp_path / "masks"), "--json"]
    words += ["--format", "coco"]
    words += ["--text", "dog, cat", "--detector", str(concepts), "--text-threshold", "0"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1
    told = json.loads((tmp_path / "masks" / "annotations.json").read_text())
    assert {one["name"] for one in told["categories"]} <= {"dog", "cat"}
    boxes = TextDetector.open(concepts).find(image, ["dog", "cat"], threshold=0.0)
    assert 0 < len(told["annotations"]) <= len(boxes)
