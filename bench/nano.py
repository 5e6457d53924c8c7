"""How well nano segments real images without any tuning, beside the baselines of no skill, and how fast.

    python bench/nano.py --data FOLDER_OF_DATA_SETS --images 40
    python bench/nano.py --sets --scenes 64

Each folder below --data is a data set as `segtune check` takes it; --scenes adds drawn ones that no training saw, at
the model's side. "quality" is the correlation, over all objects and prompt modes, of the IoU that the model predicts
with the true one, and below it within each mode, where what tells a click from a box is no help; "5 − 1" is the gain
of five clicks over one with its paired 95 % interval.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from protocol import MODES, machine

SETS = ("kvasir_seg", "flood_area", "voc_objects", "magnetic_tile", "dsb2018_nuclei", "polypgen")
THREADS = 2


def main() -> None:
    """Print mean IoU by data set and prompt mode, then seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--images", type=int, help="the first so many of each set; all without it")
    parser.add_argument("--scenes", type=int, default=0, help="drawn scenes that no training saw, scored as a set too")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    from segtune.data.dataset import open_dataset
    from segtune.data.drawn import drawn_dataset
    from segtune.models.allocator import keep_large_blocks
    from segtune.models.open import open_model
    from segtune.runs.pretrain_data import HELD_OUT

    keep_large_blocks()
    model = open_model(arguments.model)
    print(f"Mean IoU of {arguments.model}, first {arguments.images or 'all'} images of each set. {machine()}\n")
    heads = ["", *MODES, "box itself", "ellipse", "quality", "5 − 1"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    within = []
    parts = {name: open_dataset(arguments.data / name)[: arguments.images] for name in arguments.sets}
    if arguments.scenes:
        parts["scenes"] = drawn_dataset(arguments.scenes, side=model.side, first=HELD_OUT)
    for name, part in parts.items():
        cells, correlations = score(model, part)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        within.append(f"| {name} | {' | '.join(correlations)} |")
    print("\nCorrelation of predicted and true IoU within each mode, and the expected calibration error over all:\n")
    print(f"| | {' | '.join(MODES)} | ECE |")
    print("\n".join([f"|{'---|' * (2 + len(MODES))}", *within]))
    time_model(model)


def score(model, dataset) -> tuple[list[str], list[str]]:
    """Return the cells of one data set, and those of how well its own quality is predicted."""
    from segtune.evaluation.matrix import evaluate
    from segtune.evaluation.statistics import Bootstrap
    from segtune.metrics.calibration import calibration_error

    with tempfile.TemporaryDirectory() as folder:
        result = evaluate({"nano": model}, dataset, folder=Path(folder))
        with (Path(folder) / "per_object.csv").open(newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["model"] == "nano"]
    rows = {(row.model, row.mode): row for row in result.rows if row.metric == "iou"}
    wanted = [("nano", mode) for mode in MODES] + [("baseline:box", "box"), ("baseline:ellipse", "box")]
    told = {mode: [] for mode in MODES}
    for line in lines:
        if line["mode"] in told:
            told[line["mode"]].append((float(line["quality"]), float(line["iou"])))
    clicks = np.stack([result.scores.of("nano", mode) for mode in ("clicks5", "click")], axis=1)
    gain = Bootstrap(clicks, result.scores.groups if any(result.scores.groups) else None)
    interval = gain.interval(0, 1)
    cells = [
        *(f"{rows[key].mean:.3f}" for key in wanted), correlation(itertools.chain(*told.values())),
        f"{gain.mean(0, 1):+.3f} ({interval.low:+.3f} to {interval.high:+.3f})",
    ]  # fmt: skip
    predicted, true = np.array([*itertools.chain(*told.values())]).T
    error = calibration_error(predicted, true, np.ones(len(true)))
    return cells, [*(correlation(pairs) for pairs in told.values()), f"{error:.3f}"]


def correlation(pairs: Iterable[tuple[float, float]]) -> str:
    """Return Pearson's correlation of predicted and true IoU."""
    return f"{np.corrcoef(np.array([*pairs]).T)[0, 1]:.2f}"


def time_model(model) -> None:
    """Print the medians of encoding an image and of answering a click, on two threads."""
    import torch

    from segtune.segment.given import given_prompt
    from segtune.segment.session import Session

    torch.set_num_threads(THREADS)
    image = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    taken: dict[str, list[float]] = {"image": [], "decode": [], "click": []}
    for _ in range(15):
        begun = time.perf_counter()
        session = Session(model, image)
        taken["image"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        answered = session.decode([given_prompt(session.size, points=[(200, 200)])])
        taken["decode"].append(time.perf_counter() - begun)
        mask = session.answers(answered)[0].mask.array
        taken["click"].append(time.perf_counter() - begun)
        assert mask.shape == (512, 512)
    medians = {name: 1000 * statistics.median(times) for name, times in taken.items()}
    print(
        f"\nOn {THREADS} threads, medians of 15: an image of 512 pixels encoded {medians['image']:.0f} ms, a "
        f"prompt decoded {medians['decode']:.1f} ms, a click to its mask at full size {medians['click']:.1f} ms."
    )


if __name__ == "__main__":
    main()
