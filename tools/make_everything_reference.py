"""Make the automatic masks of the published code that `tests/reference/test_everything_published.py` holds ours to.

    git clone https://github.com/facebookresearch/segment-anything /tmp/published
    python tools/make_everything_reference.py --published /tmp/published

Run it again when nano's weights have changed. Images are drawn from seeds, so only the answers are stored: for each
case the settings, and of each mask its runs, box, point, crop, predicted IoU and stability, in the published order.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from make_sam_reference import REFERENCE, build_published, import_published
from segtune.data.scenes import draw_scene
from segtune.models.fingerprint import fingerprint
from segtune.models.open import open_model
from segtune.models.sam.model import Sam

PATH = REFERENCE / "everything_published_nano.npz"
ENOUGH = 12
"""Masks that a case must keep, so that it compares something."""


@dataclass(frozen=True)
class Case:
    """One image with settings; the thresholds of quality and stability are found by `main`."""

    seed: int
    side: int
    settings: dict[str, Any]

    def image(self) -> np.ndarray:
        """Return uint8 [H, W, 3]."""
        return draw_scene(self.seed, side=self.side).image


CASES = (
    Case(0, 320, {"points_per_side": 16}),
    Case(1, 200, {"points_per_side": 12, "stability_score_offset": 0.5, "box_nms_thresh": 0.5}),
    Case(2, 384, {"points_per_side": 12, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2}),
    Case(3, 256, {"points_per_side": 16, "min_mask_region_area": 60, "points_per_batch": 50}),
)


def generate(package: Any, model: Any, case: Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the highest thresholds of a ladder that keep enough masks, and those masks."""
    for step in range(12):
        settings = case.settings | {
            "pred_iou_thresh": round(0.88 * 0.8**step, 4), "stability_score_thresh": round(0.95 * 0.9**step, 4),
        }  # fmt: skip
        generator = package.SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **settings)
        try:
            found = generator.generate(case.image())
        except IndexError:
            continue  # crops without any mask
        if len(found) >= ENOUGH:
            return settings, found
    raise SystemExit(f"{case} keeps fewer than {ENOUGH} masks at any threshold.")


def main() -> None:
    """Write the expected masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="folder that holds the package segment_anything")
    arguments = parser.parse_args()
    package = import_published(arguments.published)
    nano = open_model("nano")
    assert isinstance(nano, Sam)
    model = build_published(package, nano.sizes)
    model.load_state_dict(nano.state_dict(), strict=True)
    kept: dict[str, np.ndarray] = {"fingerprint": np.array(fingerprint(nano))}
    for number, case in enumerate(CASES):
        with torch.no_grad():
            settings, found = generate(package, model, case)
        kept[f"{number}.settings"] = np.array(json.dumps(settings))
        for name in ("bbox", "point_coords", "crop_box", "predicted_iou", "stability_score"):
            kept[f"{number}.{name}"] = np.array([one[name] for one in found], dtype=np.float32)
        runs = [one["segmentation"]["counts"] for one in found]
        kept[f"{number}.runs"] = np.array([len(one) for one in runs], dtype=np.uint32)
        kept[f"{number}.counts"] = np.concatenate(runs).astype(np.uint32)
        print(f"{settings}: {len(found)} masks", flush=True)
    np.savez_compressed(PATH, **kept)
    print(f"{PATH}: {PATH.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
