"""Thousands of images through `segtune segment`, killed on the way: nothing lost, nothing twice, nothing half there.

    python bench/many.py [--images 5000] [--kills 2] [--out runs/bench/many]

Images are drawn, one process segments them without a break, another job is killed by SIGKILL in the midst of its work
so many times and called again each time. Then every image must have one line and one mask, each the first job's file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2

from protocol import machine
from segtune.data.scenes import draw_scene


def draw(target: tuple[Path, int, int]) -> None:
    """Write one image."""
    folder, number, side = target
    cv2.imwrite(str(folder / f"{number:06}.jpg"), draw_scene(number, side=side, theme="demo").image[..., ::-1])


def start(model: str, photos: Path, out: Path) -> subprocess.Popen:
    """Start a job, or go on with it."""
    command = [
        sys.executable,
        "-m",
        "segtune",
        "segment",
        model,
        str(photos),
        "--out",
        str(out),
        "--boxes",
        "10,10,50,40",
    ]
    return subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def lines_of(out: Path) -> int:
    """Return how many images the journal has."""
    journal = out / "results.jsonl"
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def digests(out: Path) -> dict[str, str]:
    """Return the SHA-256 of each mask by name; half files, which begin with a dot, count too."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.suffix == ".png"}


def main() -> None:
    """Draw, segment, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/many"))
    options = parser.parse_args()
    photos, whole, killed = (options.out / name for name in ("photos", "whole", "killed"))
    shutil.rmtree(options.out, ignore_errors=True)
    photos.mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, [(photos, number, options.side) for number in range(options.images)], chunksize=50))
    print(f"# {options.images} images of {options.side} pixels with {options.model}\n\n{machine()}\n")

    begun = time.perf_counter()
    start(options.model, photos, whole).communicate()
    seconds = time.perf_counter() - begun
    places = []
    for number in range(options.kills):
        process = start(options.model, photos, killed)
        aim = options.images * (number + 1) // (options.kills + 1)
        while process.poll() is None and lines_of(killed) < aim:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        places.append(lines_of(killed))
    told, _ = start(options.model, photos, killed).communicate()
    facts = json.loads(told)
    names = [json.loads(line)["image"] for line in (killed / "results.jsonl").read_text().splitlines()[1:]]
    one, other = digests(whole), digests(killed)
    alike = sum(one[name] == other.get(name) for name in one)
    print("| without a break | images a second | killed after | done by the last call | lines | images with one line |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {seconds:.0f} s | {options.images / seconds:.1f} | {', '.join(map(str, places))} | {facts['done']} "
        f"| {len(names)} | {len(set(names))} |"
    )
    print(f"\nMasks: {len(one)} and {len(other)}, of which {alike} are the same file.")


if __name__ == "__main__":
    main()
