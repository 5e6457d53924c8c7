"""Draw the picture of drawn scenes in docs/pretraining.md: images above, their objects outlined below.

python tools/scene_pictures.py --out docs/pictures/scenes.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from segtune.data.scenes import draw_scene

SIDE = 256
COLUMNS = 6
GAP = 6


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/scenes.jpg"))
    parser.add_argument("--first", type=int, default=0, help="seed of the first scene")
    parser.add_argument("--rows", type=int, default=2, help="of scenes")
    options = parser.parse_args()
    cell = SIDE + GAP
    sheet = np.full((2 * options.rows * cell - GAP, COLUMNS * cell - GAP, 3), 255, np.uint8)
    for number in range(options.rows * COLUMNS):
        sample = draw_scene(options.first + number, side=SIDE)
        top, left = 2 * cell * (number // COLUMNS), cell * (number % COLUMNS)
        for place, picture in ((top, sample.image), (top + cell, outlined(sample))):
            height, width = picture.shape[:2]
            sheet[place : place + height, left : left + width] = picture
    cv2.imwrite(str(options.out), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


def outlined(sample) -> np.ndarray:
    """Return the scene with a coloured outline around each object."""
    picture = sample.image.copy()
    colours = np.random.default_rng(0).permutation(40)
    for number, mask in enumerate(sample.masks()):
        hue = np.array([[[colours[number % 40] * 4.5, 220, 255]]], np.uint8)
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, found, -1, colour, 1, cv2.LINE_AA)
    return picture


if __name__ == "__main__":
    main()
