"""Ways of tuning nano against each other: what each gains, what it forgets, and what it costs.

    python bench/tuning.py --sets kvasir_seg magnetic_tile --unseen ../shared/datasets/polypgen
    python bench/tuning.py --sets kvasir_seg --images 200 --epochs 4 --only full decoder lora
    python bench/tuning.py --seeds 0 1 2 --only full late:4 lora+decoder decoder

Each line is `segtune fit` in a process of its own, with the same split by set and seed, drawn as a fit draws it (groups
and look-alikes whole), and the same settings but for what trains and the rate that a fit takes for it. Gains are on the
test part, IoU, each prompt mode; what is forgotten is the change on general images in their three modes. The mean of
each way over modes and seeds follows, and its paired difference from the decoder alone. Then the way that is best on
validation images, in the mean over the seeds, is blended with its start (`segtune blend`): nine tenths of the gain are
to stay, and half of what was forgotten to come back. Both, tuned and blended, are scored beside nano on the domain
named by --unseen. A fit that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from protocol import MODES, machine, segtune

WAYS = {
    "full": "full",
    "late:4": "late:4",
    "decoder+prompt": "decoder+prompt",
    "decoder": "decoder",
    "lora": "lora:r=8,in=encoder+decoder",
    "lora+decoder": "lora:r=8,in=encoder,whole=decoder",
    "lora, decoder alone": "lora:r=8,in=decoder",
    "rslora": "rslora:r=8,in=encoder+decoder",
    "dora": "dora:r=8,in=encoder+decoder",
    "pissa": "pissa:r=8,in=encoder+decoder",
    "adalora": "adalora:r=8,in=encoder+decoder",
    "loha": "loha:r=8,in=encoder+decoder",
    "lokr": "lokr:in=encoder+decoder",
    "vera": "vera:in=encoder+decoder",
    "boft": "boft:in=encoder+decoder",
    "ia3": "ia3:in=encoder+decoder",
    "conv_lora": "conv_lora:whole=decoder",
    "bottleneck": "bottleneck:in=encoder+decoder",
    "bias": "bias",
    "norm": "norm",
    "tokens": "tokens:8",
}
"""Name → what trains, each at the rate that a fit takes for it."""

PLAIN = "decoder"
"""What the others are held against: the way that leaves the image encoder as it is."""

BLEND = ("--alphas", ".2,.4,.6,.8")


def main() -> None:
    """Fit every way on every set with every seed, print a row each, then blend the best."""
    options = parse_arguments()
    print(f"# Ways of tuning nano, {options.epochs} epochs\n\n{machine()}\n")
    for name in options.sets:
        print(f"## {name}, {options.images or 'all'} images\n")
        heads = ["", "seed", "trains", *MODES, "mean", "forgotten", "s an epoch", "minutes", "peak GiB", "best epoch"]
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
        runs = {}
        for seed in options.seeds:
            split = part(options.data / name, options.out / f"{name}-split-{seed}", options.images, seed)
            for way in options.only or WAYS:
                runs[way, seed] = fit(options, name, way, seed, split)
                print(f"| {' | '.join(row(way, seed, runs[way, seed]))} |", flush=True)
        ways = list(dict.fromkeys(way for way, _ in runs))
        if len(ways) > 1 or len(options.seeds) > 1:
            print_means(ways, options.seeds, runs)
        scores = {
            way: statistics.mean(
                told(runs[way, seed]["out"], "run.json")["training"]["validation_score"] for seed in options.seeds
            )
            for way in ways
        }
        for way in options.blend or [max(scores, key=scores.__getitem__)]:
            blend(options, way, options.seeds[0], runs[way, options.seeds[0]]["out"])


def part(data: Path, folder: Path, images: int | None, seed: int) -> Path:
    """Split the first so many images as `segtune fit` does, with the seed, and return the file that says how."""
    from segtune.data.check import check_dataset
    from segtune.data.dataset import open_dataset
    from segtune.data.splits import make_split, write_split

    path = folder / "split.json"
    if not path.is_file():
        whole = open_dataset(data)
        dataset = whole.subset(whole.names[:images])
        check = check_dataset(dataset)
        usable = dataset.subset(one.name for one in check.measured)
        folder.mkdir(parents=True, exist_ok=True)
        write_split(path, make_split(usable, seed=seed, alike=check.alike, areas=check.areas))
    return path


def fit(options: argparse.Namespace, name: str, way: str, seed: int, split: Path) -> dict:
    """Run one fit, or take it as it was left, and return where it is and what it took."""
    out = options.out / f"{name}-{way.replace(' ', '-').replace(',', '')}-{seed}"
    cost = out / "cost.json"
    settings = [
        f"data.split={split}", f"training.seed={seed}",
        "training.prompts.corrections=2", "training.optimizer.precision=bf16",
        f"evaluation.general={options.general}", f"evaluation.general_images={options.general_images}",
        *options.set,
    ]  # fmt: skip
    if not cost.is_file():
        words = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "segtune", "fit", str(options.data / name), "--out", str(out)]
        command += ["--train", WAYS[way], "--epochs", str(options.epochs), *words]
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        if os.waitstatus_to_exitcode(status) not in (0, 3):  # 3: nothing beat the pretrained model
            raise SystemExit(f"the fit {out} failed")
        taken = {"minutes": (time.perf_counter() - started) / 60, "gib": used.ru_maxrss / 2**20, "asked": settings}
        cost.write_text(json.dumps(taken))
    taken = json.loads(cost.read_text())
    if taken["asked"] != settings:
        raise SystemExit(f"{out} holds a fit of other settings. Give another --out.")
    return {"out": out, **taken}


def row(way: str, seed: int, run: dict) -> list[str]:
    """Return the cells of one fit."""
    metrics, record = told(run["out"], "metrics.json"), told(run["out"], "run.json")
    found = gains(metrics)
    cells = [way, str(seed), f"{record['model']['parameters_trained']:,}"]
    cells += [interval(found[mode]) if mode in found else "" for mode in MODES]
    cells += [f"{mean_change(one):+.3f}" for one in (found, losses(metrics))]
    cells += [f"{seconds_of_an_epoch(run['out']):.0f}", f"{run['minutes']:.1f}", f"{run['gib']:.2f}"]
    return [*cells, str(record["training"]["best_epoch"])]


def seconds_of_an_epoch(run: Path) -> float:
    """Return the least that an epoch's steps took: what else the machine did can only have made them longer.

    Where the image encoder is frozen its embeddings may come from the cache, as the fits before left it.
    """
    events = (json.loads(line) for line in (run / "log.jsonl").open(encoding="utf-8"))
    return min(event["seconds"] for event in events if event["event"] == "epoch" and event["epoch"])


def print_means(ways: list[str], seeds: list[int], runs: dict) -> None:
    """Print each way's gain and loss over the seeds, and how much more it gains than the plain way."""
    print(f"\nMean of modes, over seeds {', '.join(map(str, seeds))} (least to most); against {PLAIN}: the difference")
    print("on the same images, all seeds together, with its 95 % interval.\n")
    print(f"| | gain | against {PLAIN} | forgotten |\n|---|---|---|---|")
    for way in ways:
        means = []
        for table in (gains, losses):
            found = [mean_change(table(told(runs[way, seed]["out"], "metrics.json"))) for seed in seeds]
            spread = f" ({min(found):+.3f} to {max(found):+.3f})" if len(seeds) > 1 else ""
            means.append(f"{statistics.mean(found):+.3f}{spread}")
        paired = "" if way == PLAIN or PLAIN not in ways else against_plain(way, seeds, runs)
        print(f"| {way} | {means[0]} | {paired} | {means[1]} |")


def against_plain(way: str, seeds: list[int], runs: dict) -> str:
    """Return how much more a way gains than the plain one on the same test images, with the interval."""
    from segtune.evaluation.statistics import Bootstrap

    rows, groups = [], []
    for seed in seeds:
        tuned, plain = (image_means(runs[one, seed]["out"]) for one in (way, PLAIN))
        rows += [(tuned[image][0], plain[image][0]) for image in sorted(plain)]
        # With several seeds an image may be in several test parts: it is one image all the same.
        groups += [plain[image][1] or image for image in sorted(plain)]
    drawn = Bootstrap(np.array(rows), groups)
    found = drawn.interval(0, 1)
    return f"{drawn.mean(0, 1):+.3f}" + (f" ({found.low:+.3f} to {found.high:+.3f})" if found else "")


def image_means(run: Path) -> dict[str, tuple[float, str | None]]:
    """Return by test image the tuned model's IoU, mean over the modes, and its group."""
    from segtune.evaluation.per_image import read_scores

    scores = read_scores(run / "per_image.csv")
    means = np.mean([scores.of("tuned", mode) for mode in MODES], axis=0)  # NaN: without objects
    rows = zip(scores.images, means, scores.groups, strict=True)
    return {image: (float(mean), group) for image, mean, group in rows if np.isfinite(mean)}


def blend(options: argparse.Namespace, way: str, seed: int, run: Path) -> None:
    """Blend a way with its start and print what stays of gain and loss."""
    target = run.with_name(run.name + "-blend")
    if not (target / "blend.json").is_file() and segtune("blend", str(run), "--out", str(target), *BLEND):
        print(f"\n{way}, seed {seed}: cannot be blended.\n")
        return
    print(f"\nBlend of {way}, seed {seed}, alpha {told(target, 'blend.json')['alpha']:g}:")
    print("\n| | gain, mean of modes | general, mean of modes |\n|---|---|---|")
    found = told(target, "blend.json")["kept"]  # of both, on the same images
    for model in ("tuned", "blended"):
        print(f"| {model} | {found[f'gain_{model}']:+.3f} | {found[f'general_{model}']:+.3f} |")
    (gain, lost), (kept, left) = ((found[f"gain_{model}"], found[f"general_{model}"]) for model in ("tuned", "blended"))
    came_back = f"{1 - left / lost:.0%} of what was forgotten came back" if lost < 0 else "nothing was forgotten"
    stayed = f"{kept / gain:.0%} of the gain stayed" if gain > 0 else "there was no gain"
    print(f"\n{stayed}, {came_back}.\n")
    if options.unseen is not None:
        print(f"On {options.unseen.name}:\n")
        # What a fit started from is "pretrained" beside it; beside a blend nano keeps its name.
        for model, names in ((run, ("tuned", "pretrained")), (target, (target.name, "nano"))):
            compared = model.with_name(model.name + "-unseen")
            segtune("evaluate", str(model), str(options.unseen), "--against", "nano", "--out", str(compared))
            found = changes(told(compared, "metrics.json")["differences"], *names)
            print(f"- {model.name}: {', '.join(f'{mode} {interval(one)}' for mode, one in found.items())}")
        print()


def told(run: Path, name: str) -> dict:
    """Return a JSON file of a run."""
    return json.loads((run / name).read_text())


def gains(metrics: dict) -> dict[str, dict]:
    """Return the tuned model's differences in IoU from nano on the test part by mode."""
    return changes(metrics["differences"])


def losses(metrics: dict) -> dict[str, dict]:
    """Return the same on general images."""
    return changes(metrics["general"]["differences"])


def mean_change(found: dict[str, dict]) -> float:
    """Return the mean over modes."""
    return statistics.mean(one["mean"] for one in found.values())


def changes(differences: list[dict], model: str = "tuned", against: str = "pretrained") -> dict[str, dict]:
    """Return the differences in IoU of a model from another by mode."""
    wanted = (model, against, "iou")
    return {one["mode"]: one for one in differences if (one["model"], one["against"], one["metric"]) == wanted}


def interval(one: dict) -> str:
    """Return a difference with its 95 % interval."""
    return f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--sets", nargs="*", default=["kvasir_seg", "magnetic_tile"])
    parser.add_argument("--general", type=Path, default=Path("../shared/datasets/voc_objects"))
    parser.add_argument("--general-images", type=int, default=40)
    parser.add_argument("--unseen", type=Path, help="another domain, scored before and after with the best of each set")
    parser.add_argument("--images", type=int, help="the first so many of each set; all without it")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--only", nargs="*", choices=WAYS)
    parser.add_argument("--blend", nargs="*", choices=WAYS, help="blend these instead of the best")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/tuning"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="handed to every fit")
    options = parser.parse_args()
    if strangers := set(options.blend or ()) - set(options.only or WAYS):
        parser.error(f"--blend takes ways that are fitted, and {', '.join(sorted(strangers))} is not in --only")
    return options


if __name__ == "__main__":
    main()
