"""Phrases through small detectors with random weights: whatever they find is brought to boxes, and those to masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError, UsageError
from segtune.segment.many import segment_many
from segtune.segment.text import FoundBox, TextDetector, TextFinder, find_by_text
from segtune.segment.wishes import Wishes

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A Grounding DINO of a few thousand weights, saved as a folder."""
    folder = tmp_path_factory.mktemp("dino")
    # The model knows the numbers of these by heart, as BERT has them.
    known = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    words = [known.get(number, f"[unused{number}]") for number in range(1030)] + ["a", "cat", "dog"]
    (folder / "vocab.txt").write_text("\n".join(words))
    text = {
        "model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": len(words), "max_position_embeddings": 32,
    }  # fmt: skip
    backbone = {
        "model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": 2,
        "image_size": 64, "out_features": ["stage2", "stage3"],
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.GroundingDinoConfig(
        text_config=text, backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        num_feature_levels=2, num_queries=12, max_text_len=32, disable_custom_kernels=True,
    )  # fmt: skip
    model = transformers.GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        # As they are made, they leave all boxes where the grid has them.
        for weights in model.model.encoder_output_bbox_embed.parameters():
            weights.normal_(std=0.5)
    model.save_pretrained(folder)
    images = transformers.models.grounding_dino.image_processing_pil_grounding_dino.GroundingDinoImageProcessorPil(
        size={"shortest_edge": 48, "longest_edge": 80}
    )
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def detector(owl):
    return TextDetector.open(owl)


@pytest.fixture(params=["owl", "dino"])
def each(request):
    """Every kind of detector."""
    return TextDetector.open(request.getfixturevalue(request.param))


def test_boxes_lie_on_the_image_by_phrase_and_score(each, image):
    found = each.find(image, ["a cat", "a dog"], threshold=0.0)
    assert {one.phrase for one in found} <= {"a cat", "a dog"}
    assert len(found) > 1
    for one in found:
        x0, y0, x1, y1 = one.box
        assert 0 <= x0 < x1 <= 80
        assert 0 <= y0 < y1 <= 48
        assert 0 <= one.score <= 1
    for phrase in ("a cat", "a dog"):
        scores = [one.score for one in found if one.phrase == phrase]
        assert scores == sorted(scores, reverse=True)
    surest = max(one.score for one in found)
    assert {one.score for one in each.find(image, ["a cat", "a dog"], threshold=surest - 1e-6)} == {surest}


@pytest.mark.parametrize("height", [1, 3, 4])
def test_an_image_of_few_rows_is_seen_as_it_is(each, height):
    """By their number alone rows might be taken for channels."""
    image = np.random.default_rng(0).integers(0, 255, (height, 60, 3), dtype=np.uint8)
    seen = []
    each._model.register_forward_pre_hook(lambda _, args, given: seen.append(given["pixel_values"]), with_kwargs=True)
    each.find(image, ["a cat"], threshold=0.0)
    shown = each._processor.image_processor(image, input_data_format="channels_last", return_tensors="pt")
    torch.testing.assert_close(seen[0], shown["pixel_values"])


def test_of_boxes_on_the_same_thing_one_is_left(each, image):
    found = [np.array(one.box) for one in each.find(image, ["a cat"], threshold=0.0)]
    assert len(found) > 1
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            shared = max(sides[0], 0) * max(sides[1], 0)
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
            assert shared / (sum(areas) - shared) <= 0.5 + 1e-6


def test_grounding_dino_is_asked_one_phrase_at_a_time(dino, image):
    """It names what it finds by pieces of the text, so each phrase alone finds what it finds among others."""
    detector = TextDetector.open(dino)
    alone = [one for phrase in ("a cat", "a dog.") for one in detector.find(image, [phrase], threshold=0.0)]
    assert {one.phrase for one in alone} == {"a cat", "a dog."}
    assert detector.find(image, ["a cat", "a dog."], threshold=0.0) == alone


class Told:
    """Stands for a detector that knows where things are."""

    def find(self, image, phrases, *, threshold):
        """Find a cat on wide images and nothing on others."""
        return [FoundBox((4.0, 4.0, 30.0, 28.0), "cat", 0.9)] if image.shape[1] > image.shape[0] else []


def test_what_is_found_is_segmented_and_classed_by_its_phrase(model, tmp_path):
    """An image on which nothing is found is done, and has no objects."""
    import cv2

    (tmp_path / "photos").mkdir()
    for name, size in (("wide", (40, 60)), ("high", (60, 40))):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), np.full((*size, 3), 90, np.uint8))
    wishes = Wishes(finder=TextFinder(Told(), ("dog", "cat")))
    for batch in (1, 2):
        out = tmp_path / str(batch)
        result = segment_many(model, [tmp_path / "photos"], out, wishes, format="coco", batch=batch)
        assert (result.done, result.without, result.failed) == (2, 0, {})
        told = json.loads((out / "annotations.json").read_text())
        assert [one["name"] for one in told["categories"]] == ["cat", "dog"]
        assert [one["category_id"] for one in told["annotations"]] == [1]
        assert len(told["images"]) == 2


def test_what_cannot_be_looked_for_is_refused(detector, image, tmp_path):
    with pytest.raises(UsageError, match="empty one"):
        detector.find(image, ["a cat", " "])
    with pytest.raises(UsageError, match="Name something"):
        find_by_text(" , ")
    with pytest.raises(ModelError, match="could not be opened"):
        find_by_text("cat", str(tmp_path / "nowhere"))


def test_a_detector_stays_where_it_is_while_a_copy_travels(detector):
    """To a cluster, while it is in use here."""
    away = detector.to("meta")
    assert (detector._model.device.type, away._model.device.type) == ("cpu", "meta")
    assert detector.to("cpu") is detector
