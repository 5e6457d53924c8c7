"""Everything mode on a 12,000 × 9,000 image: seconds and peak memory of `segtune segment --everything --tiles`.

    python bench/tiles.py
    python bench/tiles.py --width 24000 --height 18000 --kinds tif --side 2048

The image is drawn scenes side by side, so that objects lie across seams of tiles; it is written as a tiled, deflated
TIFF, which is read by window, and as JPEG and PNG, which are decoded once. Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

from protocol import machine

PIXELS_AT_ONCE = 1000
SCENES = 8


def main() -> None:
    """Draw, segment, print a row for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=12_000)
    parser.add_argument("--height", type=int, default=9_000)
    parser.add_argument("--side", type=int, default=1024, help="of a tile")
    parser.add_argument("--points", type=int, default=8, help="clicks along each side of a tile")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--kinds", nargs="+", default=["tif", "jpg", "png"])
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.width} × {arguments.height}, tiles of {arguments.side}, {arguments.model}, "
          f"{arguments.points}² clicks a tile\n")  # fmt: skip
    print("| file | MB | masks | seconds | of processor | peak memory, MiB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in arguments.kinds:
            # Drawn in a process of its own, like the command: neither counts for the other.
            path = Path(folder) / f"large.{kind}"
            subprocess.run(
                [sys.executable, __file__, "--draw", str(path), str(arguments.width), str(arguments.height)], check=True
            )
            print(row(path, arguments), flush=True)
            path.unlink()


def row(path: Path, arguments: argparse.Namespace) -> str:
    """Segment one file and return its row."""
    out = path.with_suffix(".out")
    words = [
        "segment", arguments.model, str(path), "--out", str(out), "--everything", "--tiles",
        "--tile-side", str(arguments.side), "--json",
    ]  # fmt: skip
    # Thresholds that the small built-in model reaches (docs/everything.md).
    for setting in (f"points_per_side={arguments.points}", "pred_iou_thresh=0.2", "stability_score_thresh=0.6"):
        words += ["--set", setting]
    begun = time.perf_counter()
    code = (
        "import resource, sys; from segtune.cli import main; code = main(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    seconds = time.perf_counter() - begun
    processor, peak = (float(word) for word in done.stderr.split()[-2:])
    masks = len(json.loads((out / "large.json").read_text())["annotations"])
    size = path.stat().st_size / 1e6
    return f"| {path.suffix[1:]} | {size:.0f} | {masks} | {seconds:.0f} | {processor:.0f} | {peak / 1024:.0f} |"


def draw(path: Path, width: int, height: int) -> None:
    """Write scenes side by side, each enlarged to about 1,000 pixels."""
    from segtune.data.scenes import draw_scene

    scenes = [PIL.Image.fromarray(draw_scene(seed, side=512).image) for seed in range(SCENES)]
    scenes = [np.asarray(scene.resize((PIXELS_AT_ONCE, PIXELS_AT_ONCE))) for scene in scenes]
    rng = np.random.default_rng(0)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for top in range(0, height, PIXELS_AT_ONCE):
        for left in range(0, width, PIXELS_AT_ONCE):
            place = image[top : top + PIXELS_AT_ONCE, left : left + PIXELS_AT_ONCE]
            place[:] = scenes[int(rng.integers(SCENES))][: place.shape[0], : place.shape[1]]
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(
            path,
            image,
            photometric="rgb",
            compression="zlib",
            compressionargs={"level": 1},
            tile=(512, 512),
            metadata=None,
        )
    else:
        PIL.Image.fromarray(image).save(path, **({"compress_level": 1} if path.suffix == ".png" else {"quality": 90}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
