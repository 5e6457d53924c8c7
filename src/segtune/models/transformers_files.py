"""Models whose networks are transformers' own, on disk: opened and written in its layout, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtune.core.errors import MissingExtraError, ModelError
from segtune.core.files import write_json
from segtune.models.family import Family, PromptableModel
from segtune.models.preparation import Preparation
from segtune.models.tensors import first_line, read_model_json, read_tensors, write_tensors
from segtune.models.transformers_family import BorrowedModel
from segtune.models.weights import load_strictly, require_same_names

_POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
_IMAGE_POSITIONS = "shared_image_embedding.positional_embedding"
"""transformers holds the Fourier frequencies twice, for prompts and for the image; they are the same."""


@dataclass(frozen=True)
class Layout:
    """How a family lies in transformers' files.

    Attributes:
        network: what people call it ("SAM 2").
        model_type: what its `config.json` says; the image part alone is written under it.
        opened: further model types of files that hold it (a video model with its memory).
        network_class: the class of transformers ("Sam2Model").
        config_class: its configuration ("Sam2Config").
        processor_class: its image processor.
        usual: how it wants images, from the side of its square.
        assemble: makes the model of the parts of a network.
        renamed: beginnings of our names of weights and theirs, where they differ.
        set_aside: patterns of names of weights that are known and not of the image part.
        moved: beginnings of names in the files of a larger model that holds it, and what they are here.
        within: where the configuration of such a larger model says the image part's ("tracker_config").
        extra: the extra that installs what it needs besides transformers, and that package; None: nothing.
        parts: entries of its configuration that say what the network is, the image encoder's first.
        side_of: the side of its square input, from its configuration.
    """

    network: str
    model_type: str
    opened: tuple[str, ...]
    network_class: str
    config_class: str
    processor_class: str
    usual: Callable[[int], Preparation]
    assemble: Callable[[Any, Preparation], BorrowedModel]
    renamed: tuple[tuple[str, str], ...] = ()
    set_aside: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    within: str | None = None
    extra: tuple[str, str] | None = None
    parts: tuple[str, ...] = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    side_of: Callable[[Any], int] = lambda made: int(made.prompt_encoder_config.image_size)


def build(layout: Layout, config: Mapping[str, Any], preparation: Preparation | None = None) -> BorrowedModel:
    """Assemble a model in evaluation mode, on the CPU; its weights are uninitialised memory.

    Args:
        layout: of its family.
        config: what a `config.json` says of it; what it says of other parts than the image's is not read.
        preparation: how images are brought to the square; the family's usual way by default.

    Raises:
        MissingExtraError: transformers, or what the family needs besides, is not installed.
        ModelError: the configuration makes no network.
    """
    transformers = _require_transformers(layout)
    from transformers.initialization import no_init_weights

    # Prompt encoder and decoder of a video model are the image model's under another type.
    said = config.get(layout.within, config) if layout.within else config
    parts = {name: dict(said.get(name) or {}) for name in layout.parts}
    for name in layout.parts[1:]:
        parts[name].pop("model_type", None)
    try:
        made = getattr(transformers, layout.config_class)(**parts)
        with no_init_weights():
            network = getattr(transformers, layout.network_class)(made)
    except Exception as error:  # errors of several libraries come through, all caused by what the file says
        raise ModelError(
            f"config.json makes no {layout.network} ({first_line(error)}). Copy or download the folder again."
        ) from error
    return layout.assemble(network, preparation or layout.usual(layout.side_of(made))).eval()


def read_folder(layout: Layout, folder: Path, preparation: Preparation | None) -> BorrowedModel:
    """Open a folder in the layout of `transformers`.

    Args:
        layout: of the family.
        folder: holds config.json and the weights.
        preparation: what is known of it; None reads preprocessor_config.json.

    Raises:
        MissingExtraError: transformers, or what the family needs besides, is not installed.
        ModelError: the weights do not fit the configuration.
    """
    model = build(layout, read_model_json(folder / "config.json"), preparation)
    processor = folder / "preprocessor_config.json"
    if preparation is None and processor.is_file():
        model.preparation = model.preparation.with_processor(read_model_json(processor))
    load_state(layout, model, read_tensors(folder))
    return model


def load_state(layout: Layout, model: BorrowedModel, state: Mapping[str, Tensor]) -> None:
    """Load weights under transformers' names into a model, strictly.

    Raises:
        ModelError: a name is missing or left over, or a weight has another shape.
    """
    here = {_begun_anew(name, layout.moved): value for name, value in state.items()}
    given = {name: value for name, value in here.items() if not any(re.match(one, name) for one in layout.set_aside)}
    shared = given.pop(_IMAGE_POSITIONS, None)
    if shared is not None:
        given.setdefault(_POSITIONS, shared)
    ours = {_begun_anew(name, layout.renamed): name for name in model.state_dict()}
    require_same_names(given, ours, f"transformers' layout of {layout.network}")
    load_strictly(model, {ours[name]: value for name, value in given.items()})


def write_folder(layout: Layout, model: PromptableModel, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json so that transformers opens the folder."""
    model = _require_of(layout, model)
    state = {
        _begun_anew(name, layout.renamed): value.to(dtype) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    if _POSITIONS in state:
        state[_IMAGE_POSITIONS] = state[_POSITIONS].clone()
    write_tensors(folder / "model.safetensors", state)
    write_json(folder / "preprocessor_config.json", _processor_of(layout, model))
    config = json.loads(model.network_config.to_json_string(use_diff=False))
    own = {"architectures": [layout.network_class], "model_type": layout.model_type, "dtype": "float32"}
    # Last, because a folder is taken for a model by it.
    write_json(folder / "config.json", config | own)


@torch.no_grad()
def draw_weights(model: BorrowedModel, generator: torch.Generator) -> BorrowedModel:
    """Give every weight of a small model for tests a random value, norms about 1, in place."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():  # batch norms count what they have seen
            norm = value.ndim == 1 and name.endswith(("weight", "running_var"))
            scale = 1.0 if name == _POSITIONS else 0.02
            value.copy_(scale * torch.randn(value.shape, generator=generator) + float(norm))
    return model


def family_of(
    layout: Layout,
    model: type[BorrowedModel],
    tiny: Callable[[torch.Generator], BorrowedModel],
    **original: Any,
) -> Family:
    """Return the family of a layout; `original` are the fields of an original checkpoint layout, if it has one."""
    return Family(
        model=model,
        model_types=(layout.model_type, *layout.opened),
        read_folder=partial(read_folder, layout),
        write_folder=partial(write_folder, layout),
        embedding_shapes=lambda model: _require_of(layout, model).embedding_shapes,
        tiny=tiny,
        **original,
    )


def _require_transformers(layout: Layout) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "hf", f"Opening {layout.network} models") from error
    if layout.extra is not None:
        extra, package = layout.extra
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtraError(package, extra, f"Opening {layout.network} models") from error
        except RuntimeError as error:  # torchvision, when it was built for another torch
            raise ModelError(
                f"{layout.network} models need the package '{package}', which is installed but cannot be imported "
                f"({error}). Install torch and torchvision of one release and for one kind of machine, from one index."
            ) from error
    return transformers


def _require_of(layout: Layout, model: PromptableModel) -> BorrowedModel:
    if not isinstance(model, BorrowedModel):
        raise ModelError(f"A {model.family} model cannot be written in {layout.network}'s layout; save it in its own.")
    return model


def _begun_anew(name: str, beginnings: tuple[tuple[str, str], ...]) -> str:
    for old, new in beginnings:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _processor_of(layout: Layout, model: BorrowedModel) -> dict[str, Any]:
    """Return the `preprocessor_config.json` nearest to a model's preparation; `segtune.json` alone says it all."""
    preparation, side = model.preparation, model.side
    padded = preparation.kind == "longest_side"
    size = {"longest_edge": side} if padded else {"height": side, "width": side}
    pad = {"do_pad": True, "pad_size": {"height": side, "width": side}} if padded else {}
    return {
        "image_processor_type": layout.processor_class,
        "do_convert_rgb": True,
        "do_resize": True,
        "size": size,
        "resample": 2,  # Pillow's bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": preparation.kind != "stretched",
        "image_mean": [value / 255 for value in preparation.mean],
        "image_std": [value / 255 for value in preparation.std],
    } | pad
