"""From a folder of images and masks to a Segment Anything model that is measurably better on those images.

The names below are the front door. Each is imported when it is first used, so that `import segtune` costs next to
nothing; nothing inside the package imports from here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtune.core.errors import SegtuneError
    from segtune.core.types import Prompts, Sample
    from segtune.data.check import check_dataset
    from segtune.data.dataset import Dataset, open_dataset
    from segtune.data.demo import write_demo
    from segtune.data.reading import Reading
    from segtune.data.scenes import draw_scene
    from segtune.data.splits import make_split
    from segtune.models.open import open_model
    from segtune.report.fitting import finetune
    from segtune.report.page import write_report
    from segtune.runs.evaluate import evaluate_models
    from segtune.runs.settings import load_settings
    from segtune.segment.everything import EverythingSettings, segment_everything
    from segtune.segment.many import segment_many
    from segtune.segment.session import Session
    from segtune.segment.wishes import Wish, Wishes, read_wishes, same_for_all

    __version__: str

__all__ = [
    "Dataset",
    "EverythingSettings",
    "Prompts",
    "Reading",
    "Sample",
    "SegtuneError",
    "Session",
    "Wish",
    "Wishes",
    "check_dataset",
    "draw_scene",
    "evaluate_models",
    "finetune",
    "load_settings",
    "make_split",
    "open_dataset",
    "open_model",
    "read_wishes",
    "same_for_all",
    "segment_everything",
    "segment_many",
    "write_demo",
    "write_report",
]

_PLACES = {
    "Dataset": "segtune.data.dataset",
    "EverythingSettings": "segtune.segment.everything",
    "Prompts": "segtune.core.types",
    "Reading": "segtune.data.reading",
    "Sample": "segtune.core.types",
    "SegtuneError": "segtune.core.errors",
    "Session": "segtune.segment.session",
    "Wish": "segtune.segment.wishes",
    "Wishes": "segtune.segment.wishes",
    "check_dataset": "segtune.data.check",
    "draw_scene": "segtune.data.scenes",
    "evaluate_models": "segtune.runs.evaluate",
    "finetune": "segtune.report.fitting",
    "load_settings": "segtune.runs.settings",
    "make_split": "segtune.data.splits",
    "open_dataset": "segtune.data.dataset",
    "open_model": "segtune.models.open",
    "read_wishes": "segtune.segment.wishes",
    "same_for_all": "segtune.segment.wishes",
    "segment_everything": "segtune.segment.everything",
    "segment_many": "segtune.segment.many",
    "write_demo": "segtune.data.demo",
    "write_report": "segtune.report.page",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("segtune")
    if name not in _PLACES:
        raise AttributeError(f"module 'segtune' has no attribute '{name}'. It has: {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
