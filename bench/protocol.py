"""What the benchmarks on real data share: run `segtune fit` as a user would, and print its matrix as a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

MODES = ("click", "random_click", "clicks3", "clicks5", "box", "loose_box", "point_box", "mask")


@dataclass(frozen=True)
class Fit:
    """One call of `segtune fit`."""

    name: str
    options: tuple[str, ...]


def argument_parser(description: str, data: str) -> argparse.ArgumentParser:
    """Return a parser of the command line that the benchmarks on real data share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--epochs", type=int, default=10, help="of preset default")
    parser.add_argument("--slides-epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("default", "slides"), help="run one of the two presets")
    parser.add_argument("--processes", type=int, default=1, help="that share each fit")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="handed to both fits")
    return parser


def run(title: str, arguments: argparse.Namespace, references: str) -> None:
    """Fit with both presets and print what each brought, mode by mode."""
    shared = tuple(word for setting in arguments.set for word in ("--set", setting))
    seed = ("--set", f"data.seed={arguments.seed}", "--set", f"training.seed={arguments.seed}")
    fits = [
        Fit("default", ("--train", "full", "--epochs", str(arguments.epochs))),
        Fit("slides", ("--preset", "slides", "--epochs", str(arguments.slides_epochs))),
    ]
    print(f"# {title}\n\n{machine()}\n")
    for fit in fits:
        if arguments.only in (None, fit.name):
            out = arguments.out / f"{arguments.data.name}-{fit.name}-{arguments.seed}"
            if (out / "metrics.json").is_file():
                raise SystemExit(
                    f"{out} holds an earlier fit, whose table is not of this call. Give --out another folder."
                )
            started = time.perf_counter()
            words = ("fit", str(arguments.data), "--out", str(out), *fit.options, *seed, *shared)
            code = segtune(*words, processes=arguments.processes)
            if not (out / "metrics.json").is_file():  # not by the code, which torchrun makes its own
                raise SystemExit(f"The fit {out} ended with exit code {code} and without a proof.")
            minutes = (time.perf_counter() - started) / 60
            print(f"## preset {fit.name}: {' '.join(fit.options)}: {minutes:.0f} min, exit code {code}\n")
            print(table(json.loads((out / "metrics.json").read_text())), flush=True)
    print(f"\n{references}")


def segtune(*words: str, processes: int = 1) -> int:
    """Run the command line in its own process, or in several under torchrun, and return its exit code."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    launcher = torchrun if processes > 1 else ()
    return subprocess.run([sys.executable, *launcher, "-m", "segtune", *words], check=False).returncode


def table(metrics: dict) -> str:
    """Return pretrained → tuned by mode as a Markdown table, the verdict above it."""
    rows = {(row["model"], row["mode"], row["metric"]): row for row in metrics["rows"]}
    tuned = [d for d in metrics["differences"] if (d["model"], d["against"]) == ("tuned", "pretrained")]
    gains = {(d["mode"], d["metric"]): d for d in tuned}
    lines = [
        metrics["verdict"],
        "",
        "| mode | IoU before | IoU tuned | gain, 95 % interval | p | Dice before | Dice tuned | box | ellipse |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for mode in MODES:
        if ("pretrained", mode, "iou") not in rows:
            continue
        cells = [mode, _mean(rows, "pretrained", mode, "iou"), _mean(rows, "tuned", mode, "iou")]
        gain = gains.get((mode, "iou"))
        cells += (
            [f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})", f"{gain['p']:.1e}"]
            if gain
            else ["", ""]
        )
        cells += [_mean(rows, "pretrained", mode, "dice"), _mean(rows, "tuned", mode, "dice")]
        cells += [_mean(rows, "baseline:box", mode, "iou"), _mean(rows, "baseline:ellipse", mode, "iou")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return the machine, the day and the commit in a line."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    import torch

    return (
        f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.strip() or 'unknown'}"
    )


def _mean(rows: dict, model: str, mode: str, metric: str) -> str:
    row = rows.get((model, mode, metric))
    return f"{row['mean']:.3f}" if row else ""
