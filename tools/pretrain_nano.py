"""Make nano's weights: `segtune pretrain` small, then at its full size, and pack the result into the package.

    python tools/pretrain_nano.py --out runs/nano --processes 2
    python tools/pretrain_nano.py --out runs/nano --processes 2 --install
    python tools/pretrain_nano.py --out runs/more --go-on-from nano --first 32000 --install

The first stage sees scenes of a third of the side, where a step costs a small part; the second of two thirds, with the
position tables enlarged and more corrections; the last goes on at nano's own. `--go-on-from` leaves the first two out and
trains a model further, on scenes it has not seen. Called again, it goes on where it was cut off. `--install` writes the result into the package, as
segtune opens it under the name "nano"; with `--mean` it is the mean of the weights before and after. `--set` is handed to every stage.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import segtune.models
from segtune.core.files import read_json
from segtune.data.drawn import drawn_dataset
from segtune.models.interpolation import interpolate
from segtune.models.open import open_model
from segtune.models.sam.sizes import NANO
from segtune.models.save import save_model
from segtune.models.sides import at_side
from segtune.runs.calibrate import fit_everything
from segtune.runs.pretrain_data import HELD_OUT

BATCH = 16
LOOKED_AT = 24
"""Scenes by which the thresholds of everything mode are chosen."""


def main() -> None:
    """Train all stages, or one more, and, if asked to, install the result."""
    arguments = parse_arguments()
    further = {"optimizer.lr": arguments.large_lr, "corrections": 2, "objects_per_image": 6}
    large = {**further, "steps": arguments.large_steps}
    if arguments.go_on_from is not None:
        stages = {"more": {**large, "init": arguments.go_on_from, "data.first": arguments.first}}
    else:
        first, second = arguments.steps * BATCH, (arguments.steps + arguments.middle_steps) * BATCH
        small, middle = (str(arguments.out / name) for name in ("small", "middle"))
        middling = {
            "steps": arguments.middle_steps,
            "model.side": NANO.side * 2 // 3,
            "init": small,
            "data.first": first,
        }
        stages = {
            "small": {"steps": arguments.steps, "model.side": NANO.side // 3, "corrections": 1},
            "middle": {**further, **middling},
            "large": {**large, "init": middle, "data.first": second},
        }
    record = {}
    for name, settings in stages.items():
        run_stage(arguments, arguments.out / name, settings)
        record[name] = read_json(arguments.out / name / "model" / "segtune.json")["settings"]
    if arguments.install:
        before = arguments.go_on_from if arguments.mean else None
        install(arguments.out / name, record, further=arguments.go_on_from == "nano", before=before)


def run_stage(arguments, out, settings) -> None:
    """Train one stage in processes of its own, or take up where it was left; a finished one stays as it is."""
    if is_finished(out):
        return
    launcher = [sys.executable]
    if arguments.processes > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(arguments.processes)]
    command = [*launcher, "-m", "segtune", "pretrain", "--out", str(out)]
    if (out / "pretraining.yaml").exists():
        command.append("--resume")
    else:
        settings = {
            "model.size": "nano", "batch": BATCH, "micro_batch": BATCH, "refinements": 0, "checkpoint_steps": 50,
            "validation.images": 32, "training.seed": arguments.seed, **settings,
        }  # fmt: skip
        sets = [*(f"{key}={value}" for key, value in settings.items()), *arguments.set]
        command += [word for text in sets for word in ("--set", text)]
    subprocess.run(command, check=True)


def is_finished(out) -> bool:
    """Say whether a stage did all its steps; stopped by Ctrl-C it leaves a model too."""
    path = out / "model" / "segtune.json"
    told = read_json(path) if path.exists() else None
    return told is not None and told["steps"] >= told["settings"]["steps"]


def install(run, record, *, further, before=None) -> None:
    """Write a stage's model into the package in half precision, its plan after that of the weights it went on from.

    With `before` the weights are the mean of those of that model, at nano's side, and the stage's.
    """
    target = Path(segtune.models.__file__).parent / "nano"
    plan = read_json(target / "segtune.json")["plan"] if further else {}
    for name, told in record.items():
        plan[name if name not in plan else f"{name}_{len(plan)}"] = told
    model = open_model(run)
    if before is not None:
        start = at_side(open_model(before), NANO.side)
        model.load_state_dict(interpolate(start.state_dict(), model.state_dict(), 0.5))
        plan["mean"] = {"of": ["the weights before the last training", "those after it"]}
    scenes = drawn_dataset(LOOKED_AT, side=NANO.side, first=HELD_OUT)
    model.thresholds = fit_everything(model, scenes).chosen
    save_model(model, target, extra={"made_by": "tools/pretrain_nano.py", "plan": plan}, half=True)


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=1, help="that share the training")
    parser.add_argument("--steps", type=int, default=4500, help="of 16 scenes, of the first stage")
    parser.add_argument("--middle-steps", type=int, default=3000, help="of the second")
    parser.add_argument("--large-steps", type=int, default=800, help="of the last")
    parser.add_argument("--large-lr", type=float, default=8e-4, help="of the second and the last")
    parser.add_argument("--go-on-from", metavar="MODEL", help="train this model further instead of a fresh one")
    parser.add_argument("--first", type=int, default=0, help="with --go-on-from: seed of the first scene")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="handed to each stage")
    parser.add_argument("--mean", action="store_true", help="with --go-on-from: install the mean of before and after")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--install", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
