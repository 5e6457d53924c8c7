"""How long the data doctor takes over a data set, and how much memory: the promise is 60 s for 1,000 images.

    python bench/check.py [--data DIR] [--page FILE]

Prints a table of the stages and the findings, with the machine they were measured on.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segtune.data.check import check_dataset
from segtune.data.dataset import open_dataset
from segtune.report.check_page import write_check_page


class Stopwatch:
    """Progress that keeps the time of each stage instead of showing it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[object]:
        """Time what is done inside."""
        start = time.perf_counter()
        yield lambda n=1, note="": None
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets/kvasir_seg"), help="data set to check")
    parser.add_argument("--page", type=Path, help="write the page there and time it too")
    arguments = parser.parse_args()

    watch, start = Stopwatch(), time.perf_counter()
    dataset = open_dataset(arguments.data)
    opened = time.perf_counter() - start
    check = check_dataset(dataset, watch)
    checked = time.perf_counter() - start
    rows = [("opening", opened), *watch.seconds.items(), ("check in all", checked)]
    if arguments.page is not None:
        write_check_page(check, dataset, arguments.page)
        rows.append(("page", time.perf_counter() - start - checked))
    print(f"{len(dataset):,} images of {arguments.data.name}; {os.cpu_count()} cores, {platform.machine()}\n")
    print("| stage | seconds |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.1f} |")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    print(f"processor time {time.process_time():.1f} s\n")
    print("\n".join(check.summary()))


if __name__ == "__main__":
    main()
