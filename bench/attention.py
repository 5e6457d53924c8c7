"""Attention through bf16 on the CPU, there and back: plain products, as training takes them, against torch's kernel.

    python bench/attention.py

Shapes are those of a step of training: prompts and image tokens of the mask decoder, tokens of the image encoder.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from segtune.models.sam.plain_attention import attention

BIASED = "with a bias that learns"
SHAPES = {
    "nano, image to 9 tokens of 90 prompts": (90, 4, 576, 9, 16),
    "nano, 9 tokens of 90 prompts to the image": (90, 4, 9, 576, 16),
    f"nano's encoder, 4 images, {BIASED}": (4, 6, 576, 576, 32),
    f"nano's windows of 4 images, {BIASED}": (36, 6, 64, 64, 32),
    f"the same encoder at 512 pixels, 2 images, {BIASED}": (2, 6, 1024, 1024, 32),
    "ViT-B, image to 9 tokens of 8 prompts": (8, 8, 4096, 9, 16),
    "ViT-B, 9 tokens of 8 prompts to the image": (8, 8, 9, 4096, 16),
    f"ViT-B's windows of one image, {BIASED}": (25, 12, 196, 196, 64),
}
"""By name: rows, heads, queries, keys, width of a head."""


def main() -> None:
    """Print a row a shape: milliseconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| shape | torch's kernel, ms | plain, ms | times |\n|---|---|---|---|")
    for name, (rows, heads, queries, keys, width) in SHAPES.items():
        parts = [
            torch.randn(rows, heads, n, width, dtype=torch.bfloat16, requires_grad=True) for n in (queries, keys, keys)
        ]
        bias = torch.randn(rows, heads, queries, keys, dtype=torch.bfloat16, requires_grad=True)
        parts += [bias] if BIASED in name else []
        kernels = {"torch": F.scaled_dot_product_attention, "plain": attention}
        taken = {kernel: [] for kernel in kernels}
        for _ in range(arguments.rounds):
            for kernel, function in kernels.items():
                taken[kernel].append(there_and_back(function, parts))
        theirs, ours = (statistics.median(times) * 1000 for times in taken.values())
        print(f"| {name} | {theirs:.1f} | {ours:.1f} | {theirs / ours:.1f} |", flush=True)


def there_and_back(function, parts) -> float:
    """Return the seconds of one forward and backward pass."""
    begun = time.perf_counter()
    out = function(*parts)
    out.backward(torch.ones_like(out))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
