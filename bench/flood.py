"""The flood project's protocol on the flood-area set with nano: both presets, every prompt mode.

    python bench/flood.py --data FOLDER

The folder holds images/ and masks/ of the published data set.
"""

from __future__ import annotations

from protocol import parse_arguments, run

if __name__ == "__main__":
    run(
        "Flood area, nano",
        parse_arguments(__doc__ or "", "../shared/datasets/flood_area"),
        "Published beside it, decoder only, before and after on different images: IoU .529 → .702, Dice .622 → .783.",
    )
