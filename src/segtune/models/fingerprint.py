"""What an embedding depends on besides the image: the encoder's weights, the preparation and the precision."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from segtune.models.family import PromptableModel


def fingerprint(model: PromptableModel, *, stages: int | None = None) -> str:
    """Return the SHA-256, in hex, of all that makes an image's embedding.

    Args:
        model: any promptable model.
        stages: hash the first so many of `model.encoder_stages` only, for activations kept from inside the encoder.
    """
    chosen = None if stages is None else tuple(prefix for stage in model.encoder_stages[:stages] for prefix in stage)
    encoder = model.parts["image_encoder"]
    # The encoder alone counts, so that runs that tune the decoder share embeddings. Stages speak of the model's names.
    lead = next(name for name, module in model.named_modules() if module is encoder)
    settings = [model.family, model.preparation.to_json(), model.encoder_precision, stages]
    settings += [model.variant] if model.variant else []
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(encoder.state_dict().items()):
        if chosen is None or f"{lead}.{name}".startswith(chosen):
            _add(digest, name, value)
    return digest.hexdigest()


def hash_weights(model: PromptableModel) -> str:
    """Return the SHA-256, in hex, of all weights of a model: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        _add(digest, name, value)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, value: Tensor) -> None:
    digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
    # As bytes, since numpy has no bfloat16; flat, since a single number cannot be viewed as bytes.
    digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
