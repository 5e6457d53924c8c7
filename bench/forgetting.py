"""What tuning makes nano forget, and what each remedy brings back at what cost in gain, all fitted in one run.

    python bench/forgetting.py                                  # drawn demo images, 60 of them
    python bench/forgetting.py --data ../shared/datasets/magnetic_tile --images 300 --epochs 4 \
      --general ../shared/datasets/voc_objects --general-images 40

Each line is a fit of its own with the same data, split and seed: plain, with rehearsal, with distillation, with L2 to
the start; then the blend of the plain one. Gain is on the test part, all prompt modes; forgetting on the drawn suite,
or on images of --general. Rehearsal is on drawn scenes, whatever it is measured on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from protocol import machine, segtune
from segtune.data.demo import write_demo
from tuning import part

REMEDIES = {
    "plain": (),
    "rehearsal, a third": ("training.rehearsal.share=0.33",),
    "distillation, 1": ("training.keep.distill=1",),
    "L2 to the start, .1": ("training.keep.l2_start=0.1",),
}


def main() -> None:
    """Draw or split the data, fit, blend, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="images and masks in any layout; drawn demo images without it")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--general-images", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--general", default="suite", help="what forgetting is measured on: suite, or a folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="handed to every fit")
    parser.add_argument("--only", action="append", choices=tuple(REMEDIES), help="some of the fits; repeatable")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = arguments.data
        if data is None:
            data = Path(place) / "data"
            write_demo(data, count=arguments.images, seed=arguments.seed)
        split = part(data, Path(place) / "split", arguments.images, arguments.seed)
        print(f"nano, {arguments.images} images of {arguments.data or 'the demo'}, {arguments.epochs} epochs, ", end="")
        print(f"{arguments.general_images} images of {arguments.general}, seed {arguments.seed}. {machine()}\n")
        print("| | gain, mean of modes | general, mean of modes | by mode (general) | minutes |\n|---|---|---|---|---|")
        for name in arguments.only or REMEDIES:
            out = Path(place) / name.split(",")[0].replace(" ", "-")
            started = time.perf_counter()
            settings = (*REMEDIES[name], f"training.seed={arguments.seed}", f"data.split={split}",
                        f"evaluation.general={arguments.general}", "training.workers=0",
                        f"evaluation.general_images={arguments.general_images}", *arguments.set)  # fmt: skip
            words = [word for setting in settings for word in ("--set", setting)]
            segtune("fit", str(data), "--out", str(out), "--epochs", str(arguments.epochs), *words)
            _print(name, out, "tuned", started)
            if name == "plain":
                started = time.perf_counter()
                segtune("blend", str(out), "--out", str(out) + "-blend", "--alphas", ".2,.4,.6,.8")
                told = json.loads((Path(str(out) + "-blend") / "blend.json").read_text())
                _print(f"blend of it, alpha {told['alpha']:g}", Path(str(out) + "-blend"), "blended", started)


def _print(name: str, out: Path, model: str, started: float) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    gains, general = (_changes(tables, model) for tables in (metrics["differences"], metrics["general"]["differences"]))
    by_mode = ", ".join(
        f"{mode} {mean:+.3f} ({low:+.3f} to {high:+.3f})" for mode, (mean, low, high) in general.items()
    )
    means = (sum(mean for mean, _, _ in found.values()) / len(found) for found in (gains, general))
    minutes = (time.perf_counter() - started) / 60
    print(f"| {name} | {' | '.join(f'{mean:+.3f}' for mean in means)} | {by_mode} | {minutes:.1f} |", flush=True)


def _changes(differences: list[dict], model: str) -> dict[str, tuple[float, float, float]]:
    return {
        one["mode"]: (one["mean"], one["low"], one["high"])
        for one in differences
        if (one["model"], one["against"], one["metric"]) == (model, "pretrained", "iou")
    }


if __name__ == "__main__":
    main()
