"""Everything mode against the same filters run at full size, one mask after another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError, UsageError
from segtune.core.geometry import frame_scales, logits_to_image
from segtune.core.types import MaskPrediction, Prompts
from segtune.data.scenes import draw_scene
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings, segment_everything, settings_for
from segtune.segment.grid import point_grid
from segtune.segment.suppression import suppress

LOOSE = EverythingSettings(points_per_side=6, points_per_batch=10, pred_iou_thresh=0.0, stability_score_thresh=0.0)


class Lumps(Sam):
    """Answers a click with three lumps around it: steep ones and flat ones, ragged, with specks, holes and doubles."""

    def decode(self, embedding, prompts, multimask):
        """Draw them; what a click gets depends on nothing but its place and the image."""
        assert bool(multimask.all())
        height, width = self.mask_size
        noise = torch.randn((3, height, width), generator=torch.Generator().manual_seed(0))
        noise = torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1) * 6
        places = (
            prompts.points[:, 0] * frame_scales(embedding.frames, prompts.image_index) / self.side * width
        )  # [P, 2]
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        away = torch.hypot(y - places[:, 1, None, None], x - places[:, 0, None, None])[:, None]  # [P, 1, h, w]
        # Arbitrary numbers in 0 to 1, three each for a place.
        waves = torch.tensor([[12.9898, 4.1, 7.7], [78.233, 9.3, 3.1]], dtype=torch.float64)
        drawn = torch.frac(torch.sin(places.double() @ waves) * 43.7).abs()
        radius, slope = 2 + 6 * drawn[:, [1, 2, 0]], 0.5 + 6 * drawn[:, [2, 0, 1]]
        logits = slope[..., None, None] * (radius[..., None, None] - away) + noise
        logits = logits.float() + embedding.features.mean()
        return MaskPrediction(logits, drawn.float(), prompts.image_index, embedding.frames)


@pytest.fixture(scope="module")
def model():
    """Return the model without learning."""
    micro = build_sam(MICRO, generator=torch.Generator().manual_seed(5))
    micro.__class__ = Lumps
    return micro


@pytest.fixture(scope="module")
def image():
    """Return a drawn image that is not square."""
    return draw_scene(2, side=120).image[:, :90].copy()


def at_full_size(model, image, settings):
    """Return (mask, predicted IoU, stability, point) of all that pass, in the published order, for a single crop."""
    with evaluating([model]):
        embedding = encode_image(model, image)
        points = torch.from_numpy(point_grid(settings.points_per_side) * (image.shape[1], image.shape[0])).float()
        count = len(points)
        nothing = torch.zeros(count, dtype=torch.bool)
        prompts = Prompts(
            torch.zeros(count, dtype=torch.int64), points[:, None], torch.ones((count, 1), dtype=torch.int64),
            torch.zeros(count, 4), nothing, nothing,
        )  # fmt: skip
        found = []
        for rows in torch.arange(count).split(settings.points_per_batch):
            answer = model.decode(embedding, prompts.select(rows), torch.ones(len(rows), dtype=torch.bool))
            values = logits_to_image(answer.logits, embedding.frames[0])
            for row, number in enumerate(rows):
                for slot in range(3):
                    level = values[row, slot].numpy()
                    offset = settings.stability_score_offset
                    stability = (level > offset).sum() / max((level > -offset).sum(), 1)
                    quality = float(answer.quality[row, slot])
                    good = quality > settings.pred_iou_thresh and stability >= settings.stability_score_thresh
                    if good and (level > 0).any():
                        found.append((level > 0, quality, float(stability), points[number].tolist()))
    boxes = []
    for mask, *_ in found:
        y, x = np.nonzero(mask)
        boxes.append([x.min(), y.min(), x.max(), y.max()])
    scores = np.array([one[1] for one in found], dtype=np.float32)
    kept = suppress(np.array(boxes, dtype=np.float32).reshape(-1, 4), scores, settings.box_nms_thresh)
    return [found[row] for row in kept]


@pytest.mark.parametrize("quality", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("stability", [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("offset", [0.0, 0.4, 1.0])
def test_equals_what_full_size_gives(model, image, quality, stability, offset):
    """Filtering before anything is enlarged drops no mask that the filters at full size keep, and keeps no other."""
    settings = EverythingSettings(
        points_per_side=6, points_per_batch=10, pred_iou_thresh=quality, stability_score_thresh=stability,
        stability_score_offset=offset, box_nms_thresh=0.9,
    )  # fmt: skip
    expected = at_full_size(model, image, settings)
    found = segment_everything(model, image, settings)
    assert len(found) == len(expected) > 0
    for one, (mask, predicted, stable, point) in zip(found, expected, strict=True):
        assert np.mean(one.mask.decode() != mask) < 1e-3
        assert one.predicted_iou == predicted
        assert one.stability_score == pytest.approx(stable, abs=2e-3)
        assert one.point == pytest.approx(point, abs=1e-4)
        assert one.crop_box == (0, 0, image.shape[1], image.shape[0])


def test_a_mask_tells_its_area_and_box(model, image):
    """Both are of the mask at original size."""
    for one in segment_everything(model, image, LOOSE):
        y, x = np.nonzero(one.mask.decode())
        assert one.area == len(y)
        assert one.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_the_best_come_first(model, image):
    """Masks are in the order of their predicted IoU."""
    predicted = [one.predicted_iou for one in segment_everything(model, image, LOOSE)]
    assert len(set(predicted)) > 5
    assert predicted == sorted(predicted, reverse=True)


def test_an_embedding_is_used_and_the_image_not_looked_at(model, image, monkeypatch):
    """With an embedding at hand nothing is encoded, and the result is the same."""
    expected = segment_everything(model, image, LOOSE)
    with evaluating([model]):
        embedding = encode_image(model, image)
    monkeypatch.setattr(model, "encode", None)
    assert segment_everything(model, None, LOOSE, embedding=embedding) == expected


def test_each_crop_is_encoded_once(model, image, monkeypatch):
    """One image and four crops take five runs of the encoder, or four with the image's embedding at hand."""
    seen = []
    encode = model.encode

    def counted(pixels, frames):
        seen.append(frames[0].original)
        return encode(pixels, frames)

    monkeypatch.setattr(model, "encode", counted)
    settings = EverythingSettings(**{**vars(LOOSE), "crop_n_layers": 1})
    expected = segment_everything(model, image, settings)
    assert len(seen) == 5
    assert seen[0] == image.shape[:2]
    with evaluating([model]):
        embedding = encode_image(model, image)
    del seen[:]
    assert segment_everything(model, image, settings, embedding=embedding) == expected
    assert len(seen) == 4


def test_masks_of_crops_lie_in_the_whole_image_and_are_not_cut_off(model):
    """Masks that end at their crop's edge are dropped unless the image ends there too; no two are doubles."""
    picture = draw_scene(4, side=256).image
    height, width = picture.shape[:2]
    settings = EverythingSettings(
        points_per_side=8, pred_iou_thresh=0.0, stability_score_thresh=0.3, crop_n_layers=1, crop_nms_thresh=0.5
    )
    found = segment_everything(model, picture, settings)
    inner = [one for one in found if one.crop_box != (0, 0, width, height)]
    assert inner
    for one in inner:
        x0, y0, x1, y1 = one.crop_box
        assert one.mask.size == (height, width)
        assert x0 <= one.box[0]
        assert y0 <= one.box[1]
        assert one.box[2] <= x1
        assert one.box[3] <= y1
        assert x0 <= one.point[0] <= x1
        assert y0 <= one.point[1] <= y1
        last = (one.box[0], one.box[1], one.box[2] - 1, one.box[3] - 1)
        for side, edge, end in zip(last, one.crop_box, (0, 0, width, height), strict=True):
            assert abs(side - edge) > 20 or abs(side - end) <= 20
    # Smaller crops first: the image itself is last.
    areas = [(one.crop_box[2] - one.crop_box[0]) * (one.crop_box[3] - one.crop_box[1]) for one in found]
    assert areas == sorted(areas)
    boxes = np.array([one.box for one in found], dtype=np.float32) - [0, 0, 1, 1]
    kept = suppress(boxes.astype(np.float32), -np.array(areas, dtype=np.float32), 0.5)
    assert len(kept) == len(found)


def test_specks_and_holes_are_removed(model, image):
    """No region under the least area is left, but for masks that are nothing else."""
    import cv2

    settings = EverythingSettings(**{**vars(LOOSE), "min_mask_region_area": 40, "box_nms_thresh": 1.0})
    found = segment_everything(model, image, settings)
    before = segment_everything(model, image, EverythingSettings(**{**vars(LOOSE), "box_nms_thresh": 1.0}))
    assert {one.mask.counts.tobytes() for one in found} != {one.mask.counts.tobytes() for one in before}
    for one in found:
        mask = one.mask.decode()
        for inside in (mask, ~mask):
            _, _, statistics, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
            areas = statistics[1:, cv2.CC_STAT_AREA]
            assert len(areas) == 1 or (areas >= 40).all()


def test_masks_too_small_or_too_large_are_dropped(model, image):
    """Both bounds hold at original size and are off by default."""
    every = EverythingSettings(**{**vars(LOOSE), "box_nms_thresh": 1.0})
    everything = {one.area for one in segment_everything(model, image, every)}
    low, high = sorted(everything)[5], sorted(everything)[-5]
    share = high / (image.shape[0] * image.shape[1])
    bounded = EverythingSettings(**{**vars(every), "min_mask_area": low, "max_mask_share": share})
    assert {one.area for one in segment_everything(model, image, bounded)} == {
        area for area in everything if low <= area <= high
    }


def test_explicit_points_take_the_place_of_the_grid(model, image):
    """Grids of one's own, one a layer."""
    grid = tuple(tuple(point) for point in point_grid(6).tolist())
    settings = EverythingSettings(**{**vars(LOOSE), "points_per_side": None, "point_grids": (grid,)})
    assert segment_everything(model, image, settings) == segment_everything(model, image, LOOSE)


def test_nothing_passing_is_no_error(model, image):
    """Thresholds that no mask reaches give no masks, with crops and cleaning too."""
    settings = EverythingSettings(points_per_side=4, pred_iou_thresh=1.0, crop_n_layers=1, min_mask_region_area=10)
    assert segment_everything(model, image, settings) == ()


def test_a_model_in_training_stays_so(model, image):
    """Nothing about the model is changed, and no gradient is kept."""
    model.train()
    segment_everything(model, image, LOOSE)
    assert model.training
    model.eval()


def test_the_defaults_are_the_published_ones():
    """Names and values of `SamAutomaticMaskGenerator`; what we add is off."""
    assert vars(EverythingSettings()) == {
        "points_per_side": 32, "points_per_batch": 64, "pred_iou_thresh": 0.88, "stability_score_thresh": 0.95,
        "stability_score_offset": 1.0, "box_nms_thresh": 0.7, "crop_n_layers": 0, "crop_nms_thresh": 0.7,
        "crop_overlap_ratio": 512 / 1500, "crop_n_points_downscale_factor": 1, "point_grids": None,
        "min_mask_region_area": 0, "min_mask_area": 0, "max_mask_share": 1.0,
        "guided": False, "guided_stride": 4, "guided_iou_thresh": 0.88, "guided_margin": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"points_per_side": 0}, "points_per_side must be a whole number from 1"),
        ({"points_per_side": 3.5}, "whole number"),
        ({"points_per_side": None}, "point_grids"),
        ({"point_grids": (((0.5, 0.5),),)}, "one of them"),
        ({"points_per_side": None, "point_grids": (((5.0, 0.5),),)}, "in 0 to 1"),
        ({"points_per_side": None, "point_grids": (((0.5, 0.5),),), "crop_n_layers": 1}, "needs 2 grids"),
        ({"points_per_side": 4, "crop_n_layers": 3, "crop_n_points_downscale_factor": 2}, "leaves none"),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"pred_iou_thresh": 1.2}, "from 0 to 1, but is 1.2"),
        ({"pred_iou_thresh": math.nan}, "nan"),
        ({"stability_score_offset": -1.0}, "of 0 or more"),
        ({"crop_n_layers": True}, "True"),
        ({"max_mask_share": 95}, "max_mask_share"),
        ({"min_mask_region_area": -1}, "min_mask_region_area"),
        ({"points_per_side": None, "point_grids": (((0.5, 0.5),),), "guided": True}, "even grid"),
        ({"guided_stride": 0}, "guided_stride"),
    ],
)
def test_wrong_settings_are_refused(wrong, told):
    """The rule, the value and the remedy."""
    with pytest.raises(UsageError, match=told):
        EverythingSettings(**wrong)


def test_calls_that_cannot_work_are_refused(model, image, monkeypatch):
    """No image where one is needed, several images, a model that takes no clicks."""
    with evaluating([model]):
        embedding = encode_image(model, image)
        two = model.encode(*model.prepare([image, image]))
    with pytest.raises(UsageError, match="crop_n_layers"):
        segment_everything(model, None, EverythingSettings(crop_n_layers=1), embedding=embedding)
    with pytest.raises(UsageError, match="Pass the image"):
        segment_everything(model, None)
    with pytest.raises(UsageError, match="holds 2"):
        segment_everything(model, image, embedding=two)
    monkeypatch.setattr(type(model), "accepts", frozenset({"boxes"}))
    with pytest.raises(ModelError, match="boxes only"):
        segment_everything(model, image)


def test_a_models_own_thresholds_come_before_the_published_and_after_those_given(model):
    model.thresholds = {"pred_iou_thresh": 0.25, "stability_score_thresh": 0.5}
    assert settings_for(model).pred_iou_thresh == 0.25
    assert settings_for(model, ["pred_iou_thresh=.5", "points_per_side=8"]) == EverythingSettings(
        points_per_side=8, pred_iou_thresh=0.5, stability_score_thresh=0.5
    )
    assert settings_for(model, ["guided=true", "guided_stride=2"]).guided
    for text, words in (
        ("points=3", "no setting"),
        ("points_per_side=1.5", "whole"),
        ("pred_iou_thresh=x", "a number"),
        ("guided=1", "true or false"),
    ):
        with pytest.raises(UsageError, match=words):
            settings_for(model, [text])
