"""What the head start and Muon bring to a training from nothing: the first steps of nano, with and without each.

    python bench/head_start.py [--steps 300] [--out runs/bench]

Each side is `segtune pretrain` in a process of its own on the same drawn scenes, at half nano's side so that it takes
minutes: the IoU with the truth after the last correction, over the last fifty steps, and on scenes kept out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from protocol import machine

SIDES = {
    "AdamW, plain weights": ("adamw", "false"),
    "AdamW, head start": ("adamw", "true"),
    "Muon, plain weights": ("muon", "false"),
    "Muon, head start": ("muon", "true"),
}
LAST = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    print(f"# The first {options.steps} steps of nano at {options.side} pixels, 8 images each\n\n{machine()}\n")
    print("| | training, last 50 steps | click | box | 3 clicks | seconds a step |\n|---|---|---|---|---|---|")
    for name, (optimizer, head_start) in SIDES.items():
        out = options.out / f"head-start-{optimizer}-{head_start}-{options.seed}"
        settings = {
            "model.side": options.side, "model.head_start": head_start, "training.optimizer.kind": optimizer,
            "training.optimizer.batch": 8, "training.prompts.corrections": 1, "training.prompts.refinements": 0,
            "training.optimizer.precision": "fp32", "training.seed": options.seed, "validation.images": 64,
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "segtune", "pretrain", "--out", str(out), "--steps", str(options.steps)]
        started = time.perf_counter()
        answer = subprocess.run([*command, *words, "--json"], check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds = (time.perf_counter() - started) / options.steps
        events = [json.loads(line) for line in (out / "log.jsonl").open()]
        trained = np.mean([event["iou"] for event in events if event["event"] == "step"][-LAST:])
        found = json.loads(answer)["validation"]
        scores = " | ".join(f"{found[mode]:.3f}" for mode in ("click", "box", "clicks3"))
        print(f"| {name} | {trained:.3f} | {scores} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
