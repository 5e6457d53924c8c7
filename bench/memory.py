"""Peak memory against the number of images: 10,000 may take no more than 10, within 5 %.

    python bench/memory.py [--sizes 10,1000,10000] [--modes click,box,mask] [--work evaluate]

Every measurement is its own process, smallest first. The images are drawn when asked for and never stored; the model is
`micro`, so that what is measured is the way through the images rather than the model. Peak is the largest resident set
that the operating system saw.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SIDE = 96
AIM = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,1000,10000", help="numbers of images (default 10,1000,10000)")
    parser.add_argument("--modes", default="click,box,mask", help="prompt modes of the evaluation")
    parser.add_argument("--work", choices=sorted(WORK), action="append", help="what to measure (default: all)")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    modes = options.modes.split(",")
    if options.alone is not None:
        print(json.dumps(measure(WORK[options.work[0]], options.alone, modes)))
        return

    sizes = [int(size) for size in options.sizes.split(",")]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'work':10} {'images':>8} {'peak MiB':>10} {'of first':>9} {'seconds':>9}   aim within {AIM:.0%}")
    for work in options.work or sorted(WORK):
        first = None
        for size in sizes:
            found = in_a_process(work, size, options.modes)
            first = first or found["peak"]
            print(f"{work:10} {size:8} {found['peak']:10.1f} {found['peak'] / first - 1:+9.1%} {found['seconds']:9.1f}")


def in_a_process(work: str, size: int, modes: str) -> dict[str, float]:
    """Measure one piece of work in a process of its own."""
    command = [sys.executable, __file__, "--work", work, "--alone", str(size), "--modes", modes]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def measure(work: Callable[[int, Sequence[str], Path], None], size: int, modes: Sequence[str]) -> dict[str, float]:
    """Do the work and return its peak in MiB and its seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work(size, modes, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak": peak, "seconds": time.perf_counter() - start}


def evaluate_images(size: int, modes: Sequence[str], folder: Path) -> None:
    """Evaluate two micro models side by side, with tables, intervals and paired tests."""
    import torch

    from segtune.data.drawn import drawn_dataset
    from segtune.evaluation.matrix import evaluate
    from segtune.evaluation.results import write_results
    from segtune.models.sam.build import build_sam
    from segtune.models.sam.sizes import MICRO

    torch.set_num_threads(1)  # micro is too small to share, and threads that wait for each other only take time
    models = {
        name: build_sam(MICRO, generator=torch.Generator().manual_seed(seed))
        for seed, name in enumerate(("pretrained", "tuned"))
    }
    dataset = drawn_dataset(size, side=SIDE, theme="demo")
    write_results(folder / "metrics.json", evaluate(models, dataset, modes=modes, folder=folder).results())


WORK = {"evaluate": evaluate_images}


if __name__ == "__main__":
    main()
