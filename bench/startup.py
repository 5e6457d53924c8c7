"""Time what every user waits for first: `import segtune` and `segtune --help`.

    python bench/startup.py [--runs 15]

Each side is its own process and the sides take turns, so that none has the machine to itself. "bare python" is what
the interpreter takes by itself and is in each of the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIDES = {
    "bare python": [sys.executable, "-c", "pass"],
    "import segtune": [sys.executable, "-c", "import segtune"],
    "segtune --help": [str(Path(sys.executable).with_name("segtune")), "--help"],
    "segtune fit --help": [str(Path(sys.executable).with_name("segtune")), "fit", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}
AIMS = {"import segtune": 0.3, "segtune --help": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="processes a side (default 15)")
    runs = parser.parse_args().runs

    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(runs + 1):
        for side, command in SIDES.items():
            times[side].append(seconds(command))

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'':20} {'median':>8} {'worst':>8} {'aim':>6}   seconds, {runs} processes a side")
    for side, measured in times.items():
        kept = measured[1:]  # the first of each reads its files from the disk
        aim = f"{AIMS[side]:.1f}" if side in AIMS else ""
        print(f"{side:20} {statistics.median(kept):8.3f} {max(kept):8.3f} {aim:>6}")


def seconds(command: list[str]) -> float:
    """Return how long a process takes from start to end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
