"""SAM-HQ through transformers against numbers of the published code, made by `tools/make_sam_hq_reference.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError
from segtune.models import FAMILIES
from segtune.models.open import open_model

pytest.importorskip("transformers")
pytestmark = pytest.mark.reference

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def tool(checkout: Path) -> ModuleType:
    """The script whose weights, images and prompts these are."""
    sys.path.insert(0, str(checkout / "tools"))
    import make_sam_reference

    sys.path.pop(0)
    return make_sam_reference


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(Path(__file__).parent / "sam_hq_published_random.npz"))


@pytest.fixture(scope="module")
def published(tool: ModuleType, expected: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return tool.draw_state(json.loads(str(expected["shapes"])), seed=0)


def test_an_original_checkpoint_gives_the_published_numbers(
    tool: ModuleType, published: dict[str, torch.Tensor], expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Points, boxes, masks and mixes in one ragged decode; of three masks the published code answers with the best."""
    torch.save(published, tmp_path / "sam_hq_random.pth")
    model = open_model(tmp_path / "sam_hq_random.pth")
    assert model.family == "sam_hq"
    pixels, frames = model.prepare([tool.draw_image(number) for number in range(len(tool.IMAGE_SIZES))])
    prompts = tool.draw_prompts(model.mask_size[0])
    with torch.no_grad():
        embedding = model.encode(pixels, frames)
        single = model.decode(embedding, prompts, torch.zeros(len(prompts), dtype=torch.bool))
        several = model.decode(embedding, prompts, torch.ones(len(prompts), dtype=torch.bool))
    rows, best = torch.arange(len(prompts)), several.best()
    assert embedding.features[:, ::4].numpy() == pytest.approx(expected["features"], abs=TOLERANCE)
    logits = torch.stack([single.logits[:, 0], several.logits[rows, best]], dim=1)
    assert logits.numpy() == pytest.approx(expected["logits"], abs=TOLERANCE)
    quality = torch.stack([single.quality[:, 0], several.quality[rows, best]], dim=1)
    assert quality.numpy() == pytest.approx(expected["quality"], abs=TOLERANCE)


def test_an_original_checkpoint_is_read_strictly(published: dict[str, torch.Tensor]) -> None:
    """A weight missing or left over is an error that names it, and SAM does not take the file for its own."""
    assert not FAMILIES["sam"].owns_original(published)
    read = FAMILIES["sam_hq"].read_original
    with pytest.raises(ModelError, match=r"1 missing \(mask_decoder.encoder_norm.bias\)"):
        read({name: v for name, v in published.items() if name != "mask_decoder.embedding_encoder.1.bias"}, None)
    with pytest.raises(ModelError, match=r"1 left over \(mask_decoder.surprise\)"):
        read(published | {"mask_decoder.surprise": torch.zeros(1)}, None)
