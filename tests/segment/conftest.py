"""A tiny model with fresh weights, and an image for it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO

WORDS = ["!", *"acdgot", *(f"{letter}</w>" for letter in "acdgot"), "ca", "cat</w>", "do", "dog</w>"]
WORDS += ["<|startoftext|>", "<|endoftext|>"]


@pytest.fixture
def model():
    """The smallest Segment Anything there is."""
    # With fewer channels than that the norm over mask prompts has one channel, and all mask prompts are alike.
    sizes = replace(MICRO, mask_channels=16)
    return build_sam(sizes, generator=torch.Generator().manual_seed(1)).eval()


@pytest.fixture
def image():
    """48 high, 80 wide."""
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def owl(tmp_path_factory):
    """An OWLv2 of a few thousand weights, saved as a folder."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    folder = tmp_path_factory.mktemp("owl")
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\nd o\ndo g</w>\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": len(WORDS), "max_position_embeddings": 8,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    config = transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    transformers.Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = transformers.models.owlv2.image_processing_pil_owlv2.Owlv2ImageProcessorPil(
        size={"height": 64, "width": 64}
    )
    transformers.Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder
