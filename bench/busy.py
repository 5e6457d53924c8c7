"""What one other program costs a training, with threads that spin while they wait and with threads that sleep.

    python bench/busy.py --rounds 2

Each figure is the seconds that the training steps of one epoch of `segtune demo` take on a few images, in a process of
its own with all cores; the other program counts. "spin" is what OpenMP's runtime does by itself
(GOMP_SPINCOUNT=300000), "sleep" what the command line asks of it. The sides take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from protocol import machine

SPIN = {"GOMP_SPINCOUNT": "300000"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    print(f"# A training on a busy machine\n\n{machine()}\n")
    print("| other programs | spin, s | sleep, s | × |\n|---|---|---|---|")
    for others in (0, 1):
        busy = [multiprocessing.Process(target=count, daemon=True) for _ in range(others)]
        for one in busy:
            one.start()
        spin, sleep = compare(options)
        for one in busy:
            one.terminate()
        print(f"| {others} | {spin:.1f} | {sleep:.1f} | {spin / sleep:.2f} |", flush=True)


def compare(options: argparse.Namespace) -> tuple[float, float]:
    """Return the median seconds of both sides."""
    taken: dict[str, list[float]] = {"spin": [], "sleep": []}
    for _ in range(options.rounds):
        for name, extra in (("spin", SPIN), ("sleep", {})):
            taken[name].append(epoch_seconds(options.images, extra))
    return statistics.median(taken["spin"]), statistics.median(taken["sleep"])


def count() -> None:
    """Keep a core busy."""
    number = 0
    while True:
        number += 1


def epoch_seconds(images: int, extra: dict[str, str]) -> float:
    """Return how long the steps of the demo's one epoch took, without validation."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "segtune", "demo", "--out", str(out), "--images", str(images), "--epochs", "1"]
        subprocess.run(
            command, env=os.environ | extra, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return next(float(one["seconds"]) for one in events if one["event"] == "epoch" and one["epoch"] == 1)


if __name__ == "__main__":
    main()
