"""The adapter of a run, alone in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segtune.core.progress import Progress
from segtune.core.spec import part_phrase
from segtune.models.family import Attached, PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.models.save import save_adapter
from segtune.runs.folder import RunFolder


def write_adapter(
    folder: RunFolder,
    model: PromptableModel,
    adapter: Attached,
    about: Mapping[str, Any],
    *,
    base: PromptableModel,
    progress: Progress,
) -> None:
    """Write what was learned alone, and say what becomes of it in the run's model.

    Args:
        folder: of the run.
        model: tuned, its adapter not merged.
        adapter: the model's.
        about: what the record says of the run; "base" is what the user named it by.
        base: the model that tuning started from, at its own side: what it is resampled to differs between devices.
        progress: hears it.
    """
    named, _ = part_phrase(str(about["base"]))  # what is looked for has an entry of its own
    path = Path(named).expanduser()
    # What lies on this disk is found from anywhere; other names, nano's and a hub's, stay names.
    name = str(path.absolute()) if named != "nano" and path.exists() else named
    save_adapter(model, adapter, folder.adapter, base={"name": name, "sha256": hash_weights(base)}, extra=about)
    told = f"The adapter alone ({_size_of(folder.adapter)}) is in {folder.adapter}"
    if adapter.mergeable:
        progress.say(f"{told}; {folder.model} has it merged into plain weights.")
    else:
        progress.say(
            f"{told}. Plain weights cannot express it, so {folder.model} holds it beside its base: segtune opens that "
            "folder like any other model, transformers' SamModel cannot."
        )


def _size_of(folder: Path) -> str:
    size = sum(file.stat().st_size for file in folder.iterdir())
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"
