"""Everything mode: seconds an image, decodes a second, peak memory and masks of ours, the published code, transformers.

    python bench/everything.py --published FOLDER_OF_segment_anything
    python bench/everything.py --published FOLDER_OF_segment_anything --model vit_b --images 1

Every side is a process of its own on the same weights and photographs, and the sides take turns. Thresholds are chosen
so that some dozens of masks survive: by quantiles of the answers to a few clicks on the first image. ViT-B has random
weights, all its masks are as large as the image, so its doubles are kept. Below the table stands whether the sides
agree: as many masks on each image, in the same order, and the least IoU of a pair. torchvision is stood in for where it
is missing: of the time it takes to tell doubles nothing is seen here.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

from protocol import machine

ROOT = Path(__file__).parents[1]
SIDES = {"ours": "ours", "published code": "published", "transformers": "transformers"}
SUFFIXES = {".jpg", ".jpeg", ".png"}


def open_side(which: str, folder: Path, published: Path | None, settings: dict) -> Callable:
    """Return a function from an image to the run lengths of its masks, the published order."""
    from segtune.models.open import open_model

    if which == "ours":
        from segtune.models.allocator import keep_large_blocks
        from segtune.segment.everything import EverythingSettings, segment_everything

        keep_large_blocks()
        model, chosen = open_model(str(folder)), EverythingSettings(**settings)
        return lambda image: [one.mask.counts for one in segment_everything(model, image, chosen)]
    if which == "transformers":
        return open_transformers(folder, settings)
    sys.path.insert(0, str(ROOT / "tools"))
    from make_sam_reference import build_published, import_published

    package, ours = import_published(published), open_model(str(folder))
    theirs = build_published(package, ours.sizes)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    generator = package.SamAutomaticMaskGenerator(theirs, output_mode="uncompressed_rle", **settings)
    return lambda image: [one["segmentation"]["counts"] for one in generator.generate(image)]


def open_transformers(folder: Path, settings: dict) -> Callable:
    """Return the mask-generation pipeline as such a function."""
    import transformers
    from PIL import Image
    from transformers.models.sam import image_processing_pil_sam as processing

    transformers.utils.logging.set_verbosity_error()
    model = transformers.SamModel.from_pretrained(folder).eval()
    side = model.config.vision_config.image_size

    class Processor(processing.SamImageProcessorPil):
        """Without the question whether torchvision is there."""

        def post_process_for_mask_generation(self, masks, scores, boxes, threshold):
            return processing._post_process_for_mask_generation(masks, scores, boxes, threshold)

    processor = Processor(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    pipeline = transformers.pipeline("mask-generation", model=model, image_processor=processor)
    try:
        import torchvision  # noqa: F401
    except ImportError:
        sys.path.insert(0, str(ROOT / "tools"))
        from make_sam_reference import batched_nms

        boxes = types.ModuleType("torchvision.ops.boxes")
        boxes.__dict__["batched_nms"] = batched_nms
        sys.modules["torchvision.ops.boxes"] = boxes
        sys.modules |= {name: types.ModuleType(name) for name in ("torchvision", "torchvision.ops")}
    options = {
        "points_per_batch": settings["points_per_batch"], "points_per_crop": settings["points_per_side"],
        "pred_iou_thresh": settings["pred_iou_thresh"], "crops_nms_thresh": settings["box_nms_thresh"],
        "stability_score_thresh": settings["stability_score_thresh"], "output_rle_mask": True,
    }  # fmt: skip
    return lambda image: [one["counts"] for one in pipeline(Image.fromarray(image), **options)["rle_mask"]]


def measure(which: str, arguments: argparse.Namespace) -> None:
    """Run one side in this process, keep its masks and print its seconds and peak memory as JSON."""
    segment = open_side(which, arguments.weights, arguments.published, json.loads(arguments.settings))
    images = read_images(arguments)
    seconds, processor, masks = [], [], {}
    for number, image in enumerate(images):
        started, worked = time.perf_counter(), time.process_time()
        found = segment(image)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
        masks[f"{number}.runs"] = np.array([len(one) for one in found], dtype=np.int64)
        masks[f"{number}.counts"] = np.concatenate([np.asarray(one, dtype=np.uint32) for one in found] or [np.zeros(0)])
    np.savez(arguments.masks, **masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "processor": processor, "peak_mib": peak}))


def read_images(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Return the first photographs of the folder, in the order of their paths."""
    from segtune.data.images import read_image

    paths = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [read_image(path) for path in paths[: arguments.images]]


def choose_settings(model, image: np.ndarray, arguments: argparse.Namespace) -> dict:
    """Return settings under which some dozens of masks of an image survive."""
    import torch

    from segtune.core.types import Prompts
    from segtune.segment.encoding import encode_image, evaluating
    from segtune.segment.enlarge import Enlarger
    from segtune.segment.grid import point_grid

    points = torch.from_numpy(point_grid(8) * (image.shape[1], image.shape[0])).float()
    nothing = torch.zeros(len(points), dtype=torch.bool)
    labels = torch.ones(len(points), 1, dtype=torch.int64)
    prompts = Prompts(labels[:, 0] * 0, points[:, None], labels, torch.zeros(len(points), 4), nothing, nothing)
    with evaluating([model]):
        found = model.decode(encode_image(model, image), prompts, ~nothing)
    random = arguments.model == "vit_b"
    quality = float(found.quality.quantile(arguments.quality_share))
    good = found.quality > quality
    enlarge = Enlarger(found.frames[0], model.mask_size)
    levels = [enlarge.levels(one, (1.0, -1.0)) for one in found.logits[good]]
    stability = torch.tensor([np.sum(high.inside) / max(np.sum(low.inside), 1) for high, low in levels])
    # Of random weights no double is dropped, so only a few dozens may be stable enough.
    share = 1 - 50 / (arguments.points**2 * 3 * float(good.float().mean())) if random else 0.8
    return {
        "points_per_side": arguments.points, "points_per_batch": 64, "box_nms_thresh": 1.0 if random else 0.7,
        "pred_iou_thresh": round(min(max(quality, 0.0), 0.99), 4),
        "stability_score_thresh": round(float(stability.quantile(min(max(share, 0.0), 1.0))), 4),
    }  # fmt: skip


def make_model(name: str):
    """Return nano, or ViT-B with random weights large enough that masks follow the clicks."""
    from segtune.models.open import open_model

    if name == "nano":
        return open_model("nano")
    sys.path.insert(0, str(ROOT / "tools"))
    from make_sam_reference import draw_state
    from segtune.models.sam.build import build_sam
    from segtune.models.sam.sizes import VIT_B

    model = build_sam(VIT_B)
    model.load_state_dict(draw_state({name: tuple(value.shape) for name, value in model.state_dict().items()}, seed=0))
    return model


def run_side(which: str, arguments: argparse.Namespace, folder: Path, settings: dict) -> dict:
    """Measure one side in a process of its own."""
    command = [sys.executable, __file__, "--one", which, "--weights", str(folder), "--settings", json.dumps(settings)]
    command += ["--data", str(arguments.data), "--images", str(arguments.images), "--masks", str(folder / which)]
    if arguments.published:
        command += ["--published", str(arguments.published)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return json.loads(done.stdout.strip().splitlines()[-1])


def agreement(ours: dict, theirs: dict, images: list[np.ndarray]) -> str:
    """Say how many masks each side has and how alike those in the same place are."""
    from segtune.core.rle import RunLengths

    told = []
    for number, image in enumerate(images):
        sides = []
        for one in (ours, theirs):
            parts = np.split(one[f"{number}.counts"], np.cumsum(one[f"{number}.runs"])[:-1])
            sides.append([RunLengths(image.shape[:2], part).decode() for part in parts if len(part)])
        least = min(((a & b).sum() / max((a | b).sum(), 1) for a, b in zip(*sides, strict=False)), default=float("nan"))
        told.append(f"{len(sides[0])} / {len(sides[1])} masks, IoU ≥ {least:.4f}")
    return "; ".join(told)


def compare(arguments: argparse.Namespace) -> None:
    """Let the sides take turns and print the tables."""
    from segtune.models.save import save_model

    sides = {label: which for label, which in SIDES.items() if which != "published" or arguments.published}
    results: dict[str, list[dict]] = {label: [] for label in sides}
    images = read_images(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = make_model(arguments.model)
        settings = choose_settings(model, images[0], arguments)
        save_model(model, folder)
        del model
        for number in range(arguments.rounds):
            for label, which in sides.items():
                print(f"round {number + 1} of {arguments.rounds}: {label}", file=sys.stderr)
                results[label].append(run_side(which, arguments, folder, settings))
        masks = {label: dict(np.load(folder / f"{which}.npz")) for label, which in sides.items()}
    print(
        f"# Everything mode, {arguments.model}\n\n{machine()}\n\n{settings}, {len(images)} images of {arguments.data}\n"
    )
    print("| side | s an image | processor s | × ours | decodes/s | peak MiB | masks |\n|---|---|---|---|---|---|---|")
    worked = {label: middle(runs, "processor") for label, runs in results.items()}
    for label, runs in results.items():
        wall, peak = middle(runs, "seconds"), max(run["peak_mib"] for run in runs)
        kept = sum(len(masks[label][f"{number}.runs"]) for number in range(len(images)))
        print(
            f"| {label} | {wall:.2f} | {worked[label]:.2f} | {worked[label] / worked['ours']:.2f} "
            f"| {arguments.points**2 / wall:.0f} | {peak:.0f} | {kept} |"
        )
    print("\nAgreement, image by image:\n")
    for label in sides:
        if label != "ours":
            print(f"- ours / {label}: {agreement(masks['ours'], masks[label], images)}")


def middle(runs: list[dict], what: str) -> float:
    """Return the median over images of each one's median over rounds."""
    return statistics.median(statistics.median(values) for values in zip(*(run[what] for run in runs), strict=True))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder that holds the published package segment_anything")
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets/sam_samples"), help="photographs")
    parser.add_argument("--model", choices=("nano", "vit_b"), default="nano")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--points", type=int, default=32, help="along each side")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quality-share", type=float, default=0.5, help="share of masks that fail by predicted IoU")
    parser.add_argument("--one", choices=list(SIDES.values()), help=argparse.SUPPRESS)
    for hidden in ("--weights", "--masks"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
