"""The polyp project's protocol on Kvasir-SEG with nano: 70/15/15, both presets, every prompt mode.

    python bench/kvasir.py --data FOLDER [--official]

The folder holds images/ and masks/ of the published data set. With --official its published lists part it instead, for
figures that can be put beside those of others: the 120 images of the second are the test part, and as many of the 880
of the first, drawn by the seed, are validated on and do not train.
"""

from __future__ import annotations

import random
from pathlib import Path

from protocol import argument_parser, run

LISTS = "official_split_{}.txt"


def main() -> None:
    """Fit and print what it brought."""
    parser = argument_parser(__doc__ or "", "../shared/datasets/kvasir_seg")
    parser.add_argument("--official", action="store_true", help="the published split of 880 and 120 images")
    options = parser.parse_args()
    if options.official:
        options.out /= "official"
        options.set.append(f"data.split={part_officially(options.data, options.out / 'split', options.seed)}")
    run(
        "Kvasir-SEG, nano" + (", official split" if options.official else ""),
        options,
        "Published beside it, SAM ViT-B, decoder only, point and box: IoU .797 → .890, Dice .871 → .937.",
    )


def part_officially(data: Path, folder: Path, seed: int) -> Path:
    """Write lists of the three parts into a folder and return it."""
    train, test = ((data / LISTS.format(part)).read_text().split() for part in ("train", "val"))
    random.Random(seed).shuffle(train)
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in {"train": train[len(test) :], "val": train[: len(test)], "test": test}.items():
        (folder / f"{part}.txt").write_text("\n".join(names) + "\n")
    return folder


if __name__ == "__main__":
    main()
