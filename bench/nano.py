"""How well nano segments real images without any tuning, beside the baselines of no skill.

    python bench/nano.py --data FOLDER_OF_DATA_SETS --images 40

Each folder below --data is a data set as `segtune check` takes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from protocol import MODES, machine

SETS = ("kvasir_seg", "flood_area", "voc_objects", "magnetic_tile", "dsb2018_nuclei", "polypgen")


def main() -> None:
    """Print mean IoU by data set and prompt mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--images", type=int, help="the first so many of each set; all without it")
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()

    from segtune.data.dataset import open_dataset
    from segtune.evaluation.matrix import evaluate
    from segtune.models.allocator import keep_large_blocks
    from segtune.models.open import open_model

    keep_large_blocks()
    model = open_model(arguments.model)
    print(f"Mean IoU of {arguments.model}, first {arguments.images or 'all'} images of each set. {machine()}\n")
    print(f"| | {' | '.join(MODES)} | box itself | ellipse |\n|{'---|' * (len(MODES) + 3)}")
    for name in arguments.sets:
        dataset = open_dataset(arguments.data / name)[: arguments.images]
        rows = {(row.model, row.mode): row for row in evaluate({"nano": model}, dataset).rows if row.metric == "iou"}
        wanted = [("nano", mode) for mode in MODES] + [("baseline:box", "box"), ("baseline:ellipse", "box")]
        print(f"| {name} | {' | '.join(f'{rows[key].mean:.3f}' for key in wanted)} |", flush=True)


if __name__ == "__main__":
    main()
