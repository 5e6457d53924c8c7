"""Open a model by whatever names it: "nano", a run, a folder, an original checkpoint, a hub id."""

from __future__ import annotations

import difflib
import errno
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.files import RUN_SETTINGS
from segtune.core.spec import part_phrase
from segtune.models import FAMILIES
from segtune.models.attach import ATTACHING
from segtune.models.family import Family, PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.models.preparation import Preparation
from segtune.models.quality import QualityMap
from segtune.models.save import ADAPTER, ADAPTER_WEIGHTS, BASE, PHRASE, QUALITY, RECORD, THRESHOLDS
from segtune.models.sides import at_side
from segtune.models.tensors import read_model_json, read_pickle, read_safetensors

NANO = Path(__file__).parent / "nano"
"""Weights of the built-in base."""

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_ORIGINALS = ("*mobile_sam.pt",)
"""Weights of model folders in another layout than transformers'."""

_TOKENIZER = ("*tokenizer.json", "*vocab.json", "*merges.txt", "*special_tokens_map.json")
"""What comes with a model that reads text, besides tokenizer_config.json."""

_CHECKPOINTS = {".pth", ".pt", ".bin", ".safetensors"}


def open_model(
    spec: str | Path, *, device: torch.device | str = "cpu", preparation: str | None = None
) -> PromptableModel:
    """Open a model in evaluation mode.

    Args:
        spec: "nano" (built in), a run folder, a model folder (in transformers' layout, say), the folder of an adapter,
            an original checkpoint (`.pth`, `.pt`), or a hub id ("facebook/sam-vit-base"). What lies on disk is taken
            before what the hub may have. Behind it may stand the phrase that SAM 3 looks for ("facebook/sam3#polyp").
        device: where its weights go.
        preparation: "longest_side" (SAM), "stretched" (MedSAM) or "stretched_normalized" (SAM 2 and 3). None takes
            what the model's own files say, and for files that say nothing the family's; of a SAM whose file, folder or
            repository has "medsam" in its own name, MedSAM's.

    Raises:
        ModelError: there is no such model, its files are damaged or incomplete, the hub cannot be reached, or it wants
            a phrase and has none, or has one and takes none.
    """
    name, phrase = part_phrase(spec)
    return _open(name, phrase, preparation).to(device).eval()


def _open(name: str, phrase: str, preparation: str | None) -> PromptableModel:
    if name == "nano":
        model = _open_folder(_require_nano(), "nano", preparation)
    else:
        path = _locate(name)
        if path.is_dir():
            model = _open_folder(path, name, preparation, by_phrase=bool(phrase))
        else:
            model = _open_checkpoint(path, name, preparation)
        model.source = path.absolute()
    model.phrase = _fitting_phrase(model, name, phrase)
    return model


def _fitting_phrase(model: PromptableModel, name: str, given: str) -> str:
    """Return the phrase that a model looks for; none where it reads no text."""
    reads = "text" in model.accepts
    if given and not reads:
        raise ModelError(
            f"'{name}' understands {', '.join(sorted(model.accepts))}, not text, but the phrase '{given}' was written "
            "behind it. Leave it out, or give a SAM 3."
        )
    if reads and not given and not model.phrase:
        raise ModelError(
            f"'{name}' looks for what a phrase names, but none was given. Write it behind the model, as in "
            f"'{name}#polyp'."
        )
    return given or model.phrase


def _locate(spec: str | Path) -> Path:
    """Return the model folder or checkpoint that `spec` names, fetched from the hub if need be."""
    path = Path(spec).expanduser()
    for folder in (path / "model", path):
        if (folder / "config.json").is_file() or (folder / ADAPTER_WEIGHTS).is_file():
            return folder
    if path.is_file():
        return path
    if path.exists():
        raise ModelError(
            f"The folder {path} holds no model: neither config.json nor model/config.json is there. Give a run folder "
            "whose training has ended, or a folder in transformers' layout."
        )
    if (path.parent / RUN_SETTINGS).is_file():
        raise ModelError(
            f"The run in {path.parent} holds no '{path.name}'. Its training has not ended, or trained nothing of that "
            f"kind, or no epoch beat the pretrained model. Give the run itself, {path.parent}, for the best it has."
        )
    # 'weights/sam_vit_b.pth' looks like a hub id too; a missing file is no reason to ask the network.
    if _HUB_ID.match(str(spec)) and path.suffix not in _CHECKPOINTS:
        return fetch(str(spec))
    near = difflib.get_close_matches(str(spec), ["nano"])
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ModelError(
        f"There is no model '{spec}'.{hint} A model is 'nano' (built in), a run folder, a folder in transformers' "
        "layout, an original checkpoint such as sam_vit_b_01ec64.pth or mobile_sam.pt, or a hub id such as "
        "facebook/sam-vit-base. No file of that name is here."
    )


def fetch(repository: str) -> Path:
    """Return the local copy of a hub repository's model files, downloaded where they are not there yet.

    Raises:
        ModelError: the repository does not exist, is closed, or cannot be reached and is not in the local copy.
    """
    from huggingface_hub import snapshot_download

    # The pickle, which may be beside them, only where there are no safetensors.
    # segtune's own folders besides: of MobileSAM in its original layout, of adapters with their base.
    weights = (["*.safetensors", "*.safetensors.index.json", *_ORIGINALS], ["pytorch_model.bin"])
    others = ["*config.json", f"*{RECORD}", *_TOKENIZER]
    for patterns in weights:
        try:
            folder = Path(snapshot_download(repository, allow_patterns=[*others, *patterns]))
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise _not_fetched(repository, error) from error
            raise
        except Exception as error:  # the hub's client lets errors of several network libraries through
            raise _not_fetched(repository, error) from error
        if any(any(folder.glob(pattern)) for pattern in patterns):
            break
    return folder


def _not_fetched(repository: str, error: Exception) -> ModelError:
    return ModelError(
        f"The model '{repository}' is not on this machine and could not be fetched from the Hugging Face hub "
        f"({type(error).__name__}). Check the name and the network, or download the repository on a machine "
        "that has one and give the folder's path instead; 'nano' is built in and needs no network."
    )


def _open_folder(folder: Path, name: str, preparation: str | None, *, by_phrase: bool = False) -> PromptableModel:
    record = folder / RECORD
    told = read_model_json(record, "preparation") if record.is_file() else {}
    if ADAPTER in told:
        return _open_adapted(folder, told, preparation)
    config = read_model_json(folder / "config.json")
    family = _family_of(str(config.get("model_type")), folder, by_phrase=by_phrase)
    known = Preparation.from_json(told["preparation"]) if told else None
    model = family.read_folder(folder, known)
    model.phrase = told.get(PHRASE, "")
    model.thresholds = told.get(THRESHOLDS, {})
    model.quality_map = QualityMap.from_json(told[QUALITY]) if QUALITY in told else None
    # transformers' own file has no word for a stretched square, so it does not count as said.
    return _prepared(model, name, preparation, said=known is not None)


def _open_adapted(folder: Path, told: dict[str, Any], preparation: str | None) -> PromptableModel:
    """Open the base of an adapter and put the adapter on it; one that plain weights can express is merged."""
    said = told[ADAPTER]
    inside = folder / BASE
    name = str(inside) if inside.is_dir() else str(said[BASE].get("name"))
    try:
        base = _open(name, told.get(PHRASE, ""), None).eval()
    except ModelError as error:
        raise ModelError(
            f"The base of the adapter in {folder} is '{name}', which cannot be opened. Put the base's own folder as "
            f"'{BASE}' into the adapter's. ({error})"
        ) from error
    trained = Preparation.from_json(told["preparation"])
    # An adapter may have been trained at another side of the input than its base's own.
    model = at_side(base, trained.side)
    _require_base(folder, name, said[BASE].get("sha256"), base, model)
    ATTACHING["adapter"](model, str(said["train"]), read_safetensors(folder / ADAPTER_WEIGHTS))
    if model.attached is not None and model.attached.mergeable:
        model.attached.merge(model)
    model.thresholds = told.get(THRESHOLDS, {})
    model.quality_map = QualityMap.from_json(told[QUALITY]) if QUALITY in told else None
    model.preparation = trained
    model.phrase = told.get(PHRASE, "")
    return _prepared(model, name, preparation, said=True)


def _require_base(folder: Path, name: str, expected: str | None, base: PromptableModel, model: PromptableModel) -> None:
    """Refuse a base with other weights than the adapter was trained on.

    Args:
        folder: the adapter's.
        name: the base's.
        expected: SHA-256 of the base as its files have it; None where it was not kept.
        base: as opened.
        model: at the adapter's side, of which adapters written earlier keep the hash: it holds only where positions
            are resampled to the same bits as then.

    Raises:
        ModelError: they differ.
    """
    if expected is None or (found := hash_weights(base)) == expected:
        return
    if model is not base and hash_weights(model) == expected:
        return
    raise ModelError(
        f"The adapter in {folder} belongs to a base with other weights than '{name}' has: their SHA-256 is "
        f"{expected[:12]}… there and {found[:12]}… here. Put the base it was trained on as '{BASE}' into the "
        "adapter's folder."
    )


def _open_checkpoint(path: Path, name: str, preparation: str | None) -> PromptableModel:
    state = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    return _prepared(_read_original(state, path), name, preparation, said=False)


def _read_original(state: dict[str, Tensor], path: Path) -> PromptableModel:
    for family in FAMILIES.values():
        if family.owns_original is not None and family.owns_original(state) and family.read_original is not None:
            return family.read_original(state, None)
    raise ModelError(
        f"{path} is no checkpoint of a known family in its original layout (first weights: "
        f"{', '.join(sorted(state)[:3])}). Weights saved by transformers are opened by their folder."
    )


def _family_of(model_type: str, folder: Path, *, by_phrase: bool) -> Family:
    found = [family for family in FAMILIES.values() if model_type in family.model_types]
    # One file may hold a model that reads text beside one that does not: a phrase says which is meant.
    found.sort(key=lambda family: ("text" in family.model.accepts) != by_phrase)
    if found:
        return found[0]
    known = sorted(name for family in FAMILIES.values() for name in family.model_types)
    raise ModelError(
        f"{folder / 'config.json'} is of a model of type '{model_type}', which is not among those segtune opens: "
        f"{', '.join(known)}."
    )


def _prepared(model: PromptableModel, name: str, asked: str | None, *, said: bool) -> PromptableModel:
    """Give the model the preparation asked for, or MedSAM's where only the name tells of it."""
    if asked is not None:
        model.preparation = model.preparation.as_kind(asked)
    elif not said and model.preparation.kind == "longest_side" and _is_medsam(name):  # MedSAM2 is a SAM 2
        model.preparation = Preparation.stretched(model.side)
    return model


def _is_medsam(name: str) -> bool:
    """Say whether a model's own name, or its repository's in the hub's cache, tells of MedSAM."""
    # Not resolved: a link is called what it is called, whatever the file behind it.
    parts = Path(os.path.abspath(Path(name).expanduser())).parts  # noqa: PTH100 - pathlib's own follows links
    return any("medsam" in part.lower() for part in parts if part is parts[-1] or part.startswith("models--"))


def _require_nano() -> Path:
    if not (NANO / "model.safetensors").is_file():
        raise ModelError(
            f"The weights of the built-in model 'nano' are missing from {NANO}, so this installation is incomplete. "
            "Install segtune again."
        )
    return NANO
