"""An image embedded and a click answered: milliseconds of ours, the published code and transformers.

    python bench/interactive.py --published FOLDER_OF_segment_anything
    python bench/interactive.py --published FOLDER_OF_segment_anything --model vit_b --embeds 2

Every side is a process of its own on the same weights and the same drawn image, and the sides take turns. A click is
timed from its coordinates to the mask of the best of three answers at full size; the published code brings all three
there, having no way to ask for one. The first embed and the first two clicks of each side warm it up and do not count.
The masks of a side are held to ours by their IoU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from everything import make_model
from protocol import machine

ROOT = Path(__file__).parents[1]
SIDES = {"ours": "ours", "published code": "published", "transformers": "transformers"}
SIZE = (768, 1024)
MASKS = "masks-{}.npy"


def open_side(which: str, folder: Path, published: Path | None) -> Callable:
    """Return a function from an image to a function from a click to its mask, bool [H, W]."""
    import torch

    if which == "ours":
        from segtune.models.allocator import keep_large_blocks
        from segtune.models.open import open_model
        from segtune.segment.session import Session

        keep_large_blocks()
        model = open_model(str(folder))

        def embed(image):
            session = Session(model, image)
            return lambda x, y: session.segment(points=[(x, y)]).mask.array

        return embed
    if which == "transformers":
        return open_transformers(folder)
    sys.path.insert(0, str(ROOT / "tools"))
    from make_sam_reference import build_published, import_published
    from segtune.models.open import open_model

    package, ours = import_published(published), open_model(str(folder))
    theirs = build_published(package, ours.sizes)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    predictor = package.SamPredictor(theirs)

    def embed_published(image):
        predictor.set_image(image)

        def click(x, y):
            masks, quality, _ = predictor.predict(np.array([[x, y]]), np.array([1]), multimask_output=True)
            return masks[quality.argmax()]

        return click

    torch.set_grad_enabled(False)
    return embed_published


def open_transformers(folder: Path) -> Callable:
    """Return SamModel with its processor as such a function."""
    import torch
    import transformers
    from PIL import Image
    from transformers.models.sam import image_processing_pil_sam as processing

    torch.set_grad_enabled(False)
    model = transformers.SamModel.from_pretrained(folder).eval()
    side = model.config.vision_config.image_size
    images = processing.SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})
    processor = transformers.SamProcessor(images)

    def embed(image):
        picture = Image.fromarray(image)
        given = processor(picture, return_tensors="pt")
        features = model.get_image_embeddings(given["pixel_values"])
        sizes = given["original_sizes"], given["reshaped_input_sizes"]
        scale = [new / old for new, old in zip(sizes[1][0].tolist(), sizes[0][0].tolist(), strict=True)]

        def click(x, y):
            points = torch.tensor([[[[x * scale[1], y * scale[0]]]]])
            found = model(
                image_embeddings=features, input_points=points, input_labels=torch.ones(1, 1, 1, dtype=torch.int64)
            )
            best = int(found.iou_scores[0, 0].argmax())
            masks = images.post_process_masks(found.pred_masks[:, :, best : best + 1], *sizes)
            return masks[0][0, 0].numpy()

        return click

    return embed


def draw_image() -> np.ndarray:
    """Return a drawn picture of SIZE."""
    import cv2

    from segtune.data.scenes import draw_scene

    return cv2.resize(draw_scene(3, side=512).image, SIZE[::-1], interpolation=cv2.INTER_LINEAR)


def measure(which: str, arguments: argparse.Namespace) -> None:
    """Time one side in this process; print milliseconds as JSON and leave the masks in a file."""
    import torch

    torch.set_num_threads(arguments.threads)
    embed = open_side(which, arguments.weights, arguments.published)
    image, rng = draw_image(), np.random.default_rng(0)
    embeds, clicks, masks = [], [], []
    for _ in range(arguments.embeds + 1):
        begun = time.perf_counter()
        click = embed(image)
        embeds.append(1000 * (time.perf_counter() - begun))
    places = rng.uniform((20, 20), (SIZE[1] - 20, SIZE[0] - 20), (arguments.clicks + 2, 2))
    for x, y in places:
        begun = time.perf_counter()
        mask = click(float(x), float(y))
        clicks.append(1000 * (time.perf_counter() - begun))
        masks.append(np.packbits(mask))
    np.save(arguments.weights / MASKS.format(which), np.stack(masks))
    print(json.dumps({"embeds": embeds[1:], "clicks": clicks[2:]}))


def main() -> None:
    """Let the sides take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder that holds the published package segment_anything")
    parser.add_argument("--model", choices=("nano", "vit_b"), default="nano")
    parser.add_argument("--embeds", type=int, default=10)
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=list(SIDES.values()), help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments)
        return
    from segtune.models.save import save_model

    sides = {label: which for label, which in SIDES.items() if which != "published" or arguments.published}
    results: dict[str, list[dict]] = {label: [] for label in sides}
    with tempfile.TemporaryDirectory() as folder:
        save_model(make_model(arguments.model), Path(folder))
        command = [sys.executable, __file__, "--weights", folder]
        command += ["--published", str(arguments.published)] if arguments.published else []
        for name in ("embeds", "clicks", "threads"):
            command += [f"--{name}", str(getattr(arguments, name))]
        for _ in range(arguments.rounds):
            for label, which in sides.items():
                done = subprocess.run([*command, "--one", which], check=True, stdout=subprocess.PIPE, env=os.environ)
                results[label].append(json.loads(done.stdout.decode().strip().splitlines()[-1]))
        least = {label: least_iou(Path(folder), which) for label, which in sides.items()}
    print(f"# {arguments.model}: an image of {SIZE[1]} × {SIZE[0]} pixels\n\n{machine()}\n")
    print("| side | embed p50, ms | p95 | click p50, ms | p95 | × ours | least IoU with ours |")
    print("|---|---|---|---|---|---|---|")
    ours = np.median(gather(results["ours"], "clicks"))
    for label, runs in results.items():
        embeds, clicks = gather(runs, "embeds"), gather(runs, "clicks")
        print(
            f"| {label} | {np.median(embeds):.0f} | {np.quantile(embeds, 0.95):.0f} | {np.median(clicks):.1f} "
            f"| {np.quantile(clicks, 0.95):.1f} | {np.median(clicks) / ours:.2f} | {least[label]:.4f} |"
        )


def least_iou(folder: Path, which: str) -> float:
    """Return the least IoU of a side's masks with ours, click by click; two empty masks agree."""
    from segtune.metrics.overlap import iou_of_counts

    ours, theirs = (np.unpackbits(np.load(folder / MASKS.format(side)), axis=1) for side in ("ours", which))
    counts = ((ours & theirs), ours, theirs)
    return float(iou_of_counts(*(masks.sum(axis=1, dtype=np.int64) for masks in counts)).min())


def gather(runs: list[dict], what: str) -> np.ndarray:
    """Return the milliseconds of all rounds."""
    return np.concatenate([run[what] for run in runs])


if __name__ == "__main__":
    main()
