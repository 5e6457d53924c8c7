"""Peak memory against the number of images: 10,000 may take no more than 10, within 5 %.

    python bench/memory.py [--sizes 10,1000,10000] [--modes click,box,mask] [--work evaluate] [--model micro]

Every measurement is its own process, smallest first; peak is the largest resident set that the operating system saw of
it. The model is `micro` unless said otherwise, so that what is measured is the way through the images rather than the
model. `evaluate` draws its images when asked for and never stores them; `fit` is the command line itself on drawn
images on disk: check, split, one epoch, validation, prompt matrix and report.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SIDE = 96
AIM = 0.05


@dataclass(frozen=True)
class Job:
    """What is measured, besides the number of images."""

    modes: tuple[str, ...]
    model: str
    settings: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,1000,10000", help="numbers of images (default 10,1000,10000)")
    parser.add_argument("--modes", default="click,box,mask", help="prompt modes of the evaluation")
    parser.add_argument("--work", choices=sorted(WORK), action="append", help="what to measure (default: all)")
    parser.add_argument("--model", default="micro", help="micro, or what `segtune fit --model` takes")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="handed to `segtune fit`")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    job = Job(tuple(options.modes.split(",")), options.model, tuple(options.set))
    if options.alone is not None:
        print(json.dumps(measure(WORK[options.work[-1]], options.alone, job)))
        return

    sizes = [int(size) for size in options.sizes.split(",")]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'work':10} {'images':>8} {'peak MiB':>10} {'of first':>9} {'seconds':>9}   aim within {AIM:.0%}")
    for work in options.work or sorted(WORK):
        first = None
        for size in sizes:
            found = in_a_process(work, size)
            first = first or found["peak"]
            line = f"{work:10} {size:8} {found['peak']:10.1f} {found['peak'] / first - 1:+9.1%} {found['seconds']:9.1f}"
            print(line, flush=True)


def in_a_process(work: str, size: int) -> dict[str, float]:
    """Measure one piece of work in a process of its own, by the options of this one."""
    command = [sys.executable, *sys.argv, "--work", work, "--alone", str(size)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


def measure(work: Callable[[int, Job, Path], int], size: int, job: Job) -> dict[str, float]:
    """Do the work and return its peak in MiB and its seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        whose = work(size, job, Path(folder))
    return {"peak": resource.getrusage(whose).ru_maxrss / 1024, "seconds": time.perf_counter() - start}


def evaluate_images(size: int, job: Job, folder: Path) -> int:
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
    write_results(folder / "metrics.json", evaluate(models, dataset, modes=job.modes, folder=folder).results())
    return resource.RUSAGE_SELF


def fit_images(size: int, job: Job, folder: Path) -> int:
    """Run `segtune fit` for an epoch on images and masks drawn to disk."""
    # Drawing and the making of the base are processes of their own, so that their memory is not the fit's: the
    # largest child counts, and the fit is by far the largest.
    here = "from pathlib import Path; import memory; memory."
    data, base = folder / "data", job.model
    makes = [f"write_images(Path({str(data)!r}), {size})"]
    if base == "micro":
        base = str(folder / "micro")
        makes.append(f"write_micro(Path({base!r}))")
    for make in makes:
        subprocess.run([sys.executable, "-c", here + make], check=True, cwd=Path(__file__).parent)
    settings = [word for setting in job.settings for word in ("--set", setting)]
    command = [
        sys.executable, "-m", "segtune", "fit", str(data), "--out", str(folder / "run"), "--model", base,
        "--train", "full", "--epochs", "1", *settings, "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):  # 3: nothing beat the base, which is no matter here
        raise SystemExit(f"segtune fit ended with {done.returncode}: {done.stderr or done.stdout}")
    return resource.RUSAGE_CHILDREN


def write_images(folder: Path, count: int) -> None:
    """Draw images/ and masks/ of the suite, PNG, the longer side SIDE pixels."""
    import cv2
    import numpy as np

    from segtune.data.drawn import drawn_dataset

    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number, sample in enumerate(drawn_dataset(count, side=SIDE, theme="suite")):
        mask = np.zeros(sample.image.shape[:2], np.uint8)
        for one in sample.objects:
            mask[one.decode()] = 255
        cv2.imwrite(str(folder / "images" / f"{number:05}.png"), sample.image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{number:05}.png"), mask)


def write_micro(folder: Path) -> None:
    """Write a micro model with seeded random weights."""
    import torch

    from segtune.models.sam.build import build_sam
    from segtune.models.sam.sizes import MICRO
    from segtune.models.save import save_model

    save_model(build_sam(MICRO, generator=torch.Generator().manual_seed(0)), folder, extra={})


WORK = {"evaluate": evaluate_images, "fit": fit_images}


if __name__ == "__main__":
    main()
