"""Processor milliseconds per drawn scene and per augmented view on one core: `python bench/scenes.py [--count 60]`."""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np

from segtune.data.augment import PRESETS, apply_view, draw_view
from segtune.data.demo import draw_lumps
from segtune.data.scenes import draw_scene


def measure(work: Callable[[int], object], count: int) -> tuple[float, float]:
    """Return the median and the 90th percentile of `work(0)` … `work(count - 1)` in ms of the processor."""
    times = []
    for index in range(count):
        begin = time.process_time()
        work(index)
        times.append((time.process_time() - begin) * 1e3)
    return float(np.median(times)), float(np.percentile(times, 90))


def view_of(side: int, objects: int, preset: str) -> Callable[[int], object]:
    """Return what draws and applies view number i to a square image of `side` with so many objects."""
    sample = draw_scene(1, side=side)
    image = cv2.resize(sample.image, (side, side))
    masks = np.zeros((objects, side, side), bool)
    masks[:, side // 4 : side // 2, side // 3 :] = True
    settings = PRESETS[preset]
    return lambda index: apply_view(image, masks, None, draw_view(np.random.default_rng(index), settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="how many of each")
    count = parser.parse_args().count
    cv2.setNumThreads(1)
    for seed in range(300):
        draw_scene(seed, side=64)  # makes the tiles, once in a process
    draw_lumps(0)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one used, numpy {np.__version__}, "
          f"OpenCV {cv2.__version__}")  # fmt: skip
    print(f"{'what':<44}{'median ms':>10}{'90 % ms':>10}")
    for theme in ("general", "suite", "demo"):
        for side in (256, 512, 1024):
            row(
                f"scene, {theme}, {side}", lambda seed, s=side, t=theme: draw_scene(1000 + seed, side=s, theme=t), count
            )
    for preset in ("slides", "default"):
        for side in (512, 1024):
            for objects in (1, 16, 64):
                row(f"view, {preset}, {side}, {objects} objects", view_of(side, objects, preset), count)


def row(name: str, work: Callable[[int], object], count: int) -> None:
    median, high = measure(work, count)
    print(f"{name:<44}{median:>10.1f}{high:>10.1f}")


if __name__ == "__main__":
    main()
