"""What a self-supervised start brings to a training from nothing: nano with it, without it, and without it for as long.

    python bench/mae.py [--steps 1000] [--start-steps 500] [--out runs/bench]

Each side is `segtune pretrain` in a process of its own on the same drawn scenes, at half nano's side so that it takes
minutes. The first hides patches for --start-steps and then trains on prompts for --steps; the second has the same steps
on prompts without the start; the third has more of them, as many as fit into the first one's time. Seconds are those of
the steps; the IoU is that on scenes kept out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from protocol import machine

MODES = ("click", "box", "clicks3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="steps on prompts")
    parser.add_argument("--start-steps", type=int, default=500, help="steps on masked images in front of them")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--size", default="nano")
    parser.add_argument("--images", type=int, default=64, help="scenes kept out")
    parser.add_argument("--mask-share", type=float, default=0.75)
    parser.add_argument("--decoder-depth", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    print(f"# {options.size} at {options.side} pixels with and without a start on masked images, 8 images a step\n")
    print(f"{machine()}\n")
    print(f"| | steps | seconds | {' | '.join(MODES)} |\n|---|---|---|---|---|---|", flush=True)
    started = pretrain(options, "started", options.steps, is_started=True)
    tell(f"masked images, {options.start_steps} steps, then prompts", started)
    tell("prompts, as many steps", pretrain(options, "plain", options.steps))
    seconds_a_step = (started["seconds"] - started["start_seconds"]) / options.steps
    longer = options.steps + round(started["start_seconds"] / seconds_a_step)
    tell("prompts, as much time", pretrain(options, "longer", longer))


def pretrain(options: argparse.Namespace, name: str, steps: int, *, is_started: bool = False) -> dict[str, Any]:
    """Train one side and return its steps, the seconds they took and the scores."""
    out = options.out / f"mae-{name}-{options.seed}"
    settings = {
        "model.side": options.side, "training.seed": options.seed, "training.optimizer.batch": 8,
        "training.prompts.corrections": 1, "training.prompts.refinements": 0, "training.optimizer.precision": "fp32",
        "validation.images": options.images, "validation.every": steps, "mae.steps": options.start_steps,
        "mae.mask_share": options.mask_share, "mae.decoder_depth": options.decoder_depth,
    } | ({"model.init": "mae"} if is_started else {})  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "segtune", "pretrain", "--out", str(out), "--size", options.size]
    command += ["--steps", str(steps), *words, "--json"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    start_seconds = seconds_of_steps(out / "mae" / "log.jsonl") if is_started else 0.0
    seconds = start_seconds + seconds_of_steps(out / "log.jsonl")
    return {"steps": steps, "seconds": seconds, "start_seconds": start_seconds} | json.loads(answer)["validation"]


def seconds_of_steps(log: Path) -> float:
    """Return how long the epochs of a log took, validation left out."""
    return sum(event["seconds"] for event in map(json.loads, log.open()) if event["event"] == "epoch")


def tell(name: str, side: dict[str, Any]) -> None:
    """Print a side's row."""
    scores = " | ".join(f"{side[mode]:.3f}" for mode in MODES)
    print(f"| {name} | {side['steps']} | {side['seconds']:.0f} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
