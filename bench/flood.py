"""The flood project's protocol on the flood-area set with nano: both presets, every prompt mode.

    python bench/flood.py --data FOLDER

The folder holds images/ and masks/ of the published data set.
"""

from __future__ import annotations

from protocol import argument_parser, run

if __name__ == "__main__":
    run(
        "Flood area, nano",
        argument_parser(__doc__ or "", "../shared/datasets/flood_area").parse_args(),
        "Published beside it, decoder only, before and after on different images: IoU .529 → .702, Dice .622 → .783.",
    )
