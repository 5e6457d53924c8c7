"""Make nano's weights: `segtune pretrain` small, then at its full size, and pack the result into the package.

    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/nano
    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/nano --resume --install
    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/more --go-on-from nano --first 80000 --install

The first stage sees scenes of half the size, where a step costs a quarter; the second goes on at nano's own, with the
position tables enlarged and more corrections. `--go-on-from` leaves the first stage out and trains a model further, on
scenes it has not seen. `--install` writes the result into the package, as segtune opens it under the name "nano".
`--set` is handed to both stages: `--set training.optimizer.kind=adamw --set model.head_start=false` shows what was
added last.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import segtune.models
from segtune.core.files import read_json
from segtune.models.open import open_model
from segtune.models.sam.sizes import NANO
from segtune.models.save import save_model
from segtune.runs.pretrain import pretrain
from segtune.runs.pretrain_settings import load_pretrain_settings


def main() -> None:
    """Train both stages, or one more, and, if asked to, install the result."""
    arguments = parse_arguments()
    batch = 16
    if arguments.go_on_from is not None:
        stages = {"more": {"model__init": arguments.go_on_from, "steps": arguments.large_steps,
                           "data__first": arguments.first, "training__optimizer__lr": arguments.large_lr}}  # fmt: skip
    else:
        stages = {
            "small": {"model__side": NANO.side // 2, "steps": arguments.steps, "training__prompts__corrections": 1},
            "large": {"model__init": str(arguments.out / "small"), "steps": arguments.large_steps,
                      "data__first": arguments.steps * batch, "training__optimizer__lr": arguments.large_lr},
        }  # fmt: skip
    record = {}
    for name, options in stages.items():
        run_stage(arguments, name, batch, options)
        record[name] = read_json(arguments.out / name / "model" / "segtune.json")["settings"]
    if arguments.install and not int(os.environ.get("RANK", "0")):
        target = Path(segtune.models.__file__).parent / "nano"
        before = read_json(target / "segtune.json")["plan"] if arguments.go_on_from == "nano" else {}
        plan = before | {name if name not in before else f"{name}_{len(before)}": told for name, told in record.items()}
        extra = {"made_by": "tools/pretrain_nano.py", "plan": plan}
        save_model(open_model(arguments.out / name), target, extra=extra, half=True)


def run_stage(arguments, name, batch, options) -> None:
    """Train one stage, or take up where it was left; a finished stage is left as it is."""
    out = arguments.out / name
    if (out / "model" / "segtune.json").exists():
        return
    settings = load_pretrain_settings(
        out=out,
        overrides=[
            f"training.optimizer.batch={batch}", f"training.optimizer.micro_batch={batch}",
            "training.prompts.refinements=0", "training.checkpoint_steps=50", f"device={arguments.device}",
            f"training.seed={arguments.seed}", *arguments.set,
        ],
        **{"model__size": "nano", "training__prompts__corrections": 2} | options,
    )  # fmt: skip
    resume = arguments.resume and (out / "pretraining.yaml").is_file()
    result = pretrain(settings, resume=resume)
    if result is not None:
        print(name, result.steps, result.validation, flush=True)
        if result.stopped:
            raise SystemExit(130)


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500, help="of 16 scenes, of the first stage")
    parser.add_argument("--large-steps", type=int, default=800, help="of the second")
    parser.add_argument("--large-lr", type=float, default=5e-4)
    parser.add_argument("--go-on-from", metavar="MODEL", help="train this model further instead of a fresh one")
    parser.add_argument("--first", type=int, default=0, help="with --go-on-from: seed of the first scene")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="handed to each stage")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--install", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
