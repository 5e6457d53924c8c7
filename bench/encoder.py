"""Images a second and peak memory of a ViT-B image encoder at 1024 pixels: ours, transformers and the published code.

    python bench/encoder.py
    python bench/encoder.py --published FOLDER_OF_segment_anything --rounds 3

Every side is a process of its own, so that no setting leaks, and the sides take turns, so that a busy machine is busy
for all of them; the processor's seconds are less disturbed by it than the clock's (with OMP_NUM_THREADS=1, when no
thread spins). Weights are random and the same; the last column is the largest difference of features from ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SIDES = {
    "ours, fp32": "ours-fp32",
    "ours, bf16": "ours-bf16",
    "transformers, SDPA, fp32": "transformers",
    "published code, fp32": "published",
}
SIDES_BY_NAME = {which: label for label, which in SIDES.items()}


def draw_pixels(side: int):
    """Return one image's worth of pixels, the same in every process."""
    import torch

    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def draw_model(side: int):
    """Return our ViT-B with random weights, positions included, the same in every process."""
    import torch

    from segtune.models.sam.build import build_sam
    from segtune.models.sam.resize import resized
    from segtune.models.sam.sizes import VIT_B

    model = build_sam(VIT_B, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_pos" in name:
                parameter.normal_(std=0.02, generator=generator)
    return model if side == model.side else resized(model, side)


def encoder_of(which: str, published: Path | None, side: int) -> Callable:
    """Return the encoder of one side as a function from pixels to features."""
    import torch

    from segtune.models.allocator import keep_large_blocks

    if which.startswith("ours"):
        keep_large_blocks()
        model = draw_model(side)
        model.encoder_precision = which.removeprefix("ours-")
        frames = (model.frame((side, side)),)
        return lambda pixels: model.encode(pixels, frames).features
    ours = draw_model(side)
    if which == "transformers":
        import transformers

        from segtune.models.sam.configuration import config_of_sizes
        from segtune.models.weights import to_transformers

        config = transformers.SamConfig(**config_of_sizes(ours.sizes))
        theirs = transformers.SamModel._from_config(config, attn_implementation="sdpa").eval()
        theirs.load_state_dict(to_transformers(ours.state_dict(), ours.sizes), strict=False)
        return lambda pixels: theirs.vision_encoder(pixels)[0]
    sys.path.insert(0, str(ROOT / "tools"))
    from make_sam_reference import build_published, import_published

    original = build_published(import_published(published), ours.sizes)
    original.load_state_dict(ours.state_dict(), strict=True)
    encode = original.image_encoder
    del ours
    return torch.no_grad()(encode)


def measure(which: str, published: Path | None, side: int, images: int, features: Path) -> None:
    """Run one side in this process and print its seconds and peak memory as JSON."""
    import torch

    encode = encoder_of(which, published, side)
    pixels = draw_pixels(side)
    seconds, processor = [], []
    with torch.no_grad():
        for _ in range(images + 1):
            started, worked = time.perf_counter(), time.process_time()
            made = encode(pixels)
            seconds.append(time.perf_counter() - started)
            processor.append(time.process_time() - worked)
    np.save(features, made.float().numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds[1:], "processor": processor[1:], "peak_mib": peak}))


def run_side(which: str, arguments: argparse.Namespace, features: Path) -> dict:
    """Measure one side in a process of its own."""
    command = [sys.executable, __file__, "--one", which, "--features", str(features)]
    command += ["--side", str(arguments.side), "--images", str(arguments.images)]
    if arguments.published:
        command += ["--published", str(arguments.published)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(arguments: argparse.Namespace) -> None:
    """Let the sides take turns and print the table."""
    sides = {label: which for label, which in SIDES.items() if which != "published" or arguments.published}
    results: dict[str, list[dict]] = {label: [] for label in sides}
    with tempfile.TemporaryDirectory() as folder:
        files = {label: Path(folder) / f"{which}.npy" for label, which in sides.items()}
        for number in range(arguments.rounds):
            for label, which in sides.items():
                print(f"round {number + 1} of {arguments.rounds}: {label}", file=sys.stderr)
                results[label].append(run_side(which, arguments, files[label]))
        features = {label: np.load(path) for label, path in files.items()}
    print(describe_machine())
    print(f"\nViT-B at {arguments.side}, batch 1, random weights, {arguments.rounds} rounds of {arguments.images}\n")
    print("| side | s an image | images/s | × transformers | processor s | × transformers | peak MiB | from ours |")
    print("|---|---|---|---|---|---|---|---|")
    wall, worked = medians(results, "seconds"), medians(results, "processor")
    peer = SIDES_BY_NAME["transformers"]
    for label, runs in results.items():
        peak = max(run["peak_mib"] for run in runs)
        away = float(np.abs(features[label] - features["ours, fp32"]).max())
        print(
            f"| {label} | {wall[label]:.2f} | {1 / wall[label]:.3f} | {wall[peer] / wall[label]:.2f} "
            f"| {worked[label]:.1f} | {worked[peer] / worked[label]:.2f} | {peak:.0f} | {away:.1e} |"
        )


def medians(results: dict[str, list[dict]], what: str) -> dict[str, float]:
    """Return each side's median over all its images."""
    return {label: statistics.median(value for run in runs for value in run[what]) for label, runs in results.items()}


def describe_machine() -> str:
    """Return what the numbers were taken on, and how busy it was."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads, load {load}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder that holds the published package segment_anything")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1, help="timed images a process, after one to warm up")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--one", choices=list(SIDES.values()), help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments.published, arguments.side, arguments.images, arguments.features)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
