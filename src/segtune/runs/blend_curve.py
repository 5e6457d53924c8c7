"""The curve of `segtune blend`: measured of the two ends once, and taken up again where nothing has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from segtune.core.files import read_json
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation.blending import Change, CurvePoint, Trial, measure_curve
from segtune.evaluation.reading import read_ahead
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import fingerprint, hash_weights
from segtune.runs.base import open_base
from segtune.runs.data import RunData
from segtune.runs.embeddings import RememberedEmbedder
from segtune.runs.folder import RunFolder
from segtune.runs.general import GeneralImages
from segtune.runs.settings import Settings
from segtune.runs.validation import validation_part


@dataclass(frozen=True)
class Ends:
    """The two models between which is blended, and the run they are of.

    Attributes:
        run: its folder.
        settings: its own.
        device: where the models are.
        pretrained: the base, as it would be used: what was gained and what was forgotten is counted from it.
        start: the base at the side of the input that was tuned at, mostly the same object.
        tuned: the run's result.
    """

    run: RunFolder
    settings: Settings
    device: str
    pretrained: PromptableModel
    start: PromptableModel
    tuned: PromptableModel

    @property
    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All weights of both ends."""
        return self.start.state_dict(), self.tuned.state_dict()


@dataclass(frozen=True)
class Question:
    """What a curve is the answer to.

    Attributes:
        ends: between which.
        alphas: shares of the tuned model.
        own: the validation images.
        general: the general images that something may be chosen by.
    """

    ends: Ends
    alphas: tuple[float, ...]
    own: Dataset
    general: Dataset

    @classmethod
    def of(cls, ends: Ends, alphas: Sequence[float], data: RunData, general: GeneralImages) -> Question:
        """Ask about the images that the run's settings choose."""
        return cls(ends, tuple(sorted(alphas)), validation_part(ends.settings, data.val), general.choice)

    def describe(self) -> dict[str, Any]:
        """Return all that the answer depends on, as JSON: two that are told alike have the same curve."""
        settings, ends = self.ends.settings, self.ends
        return {
            "alphas": list(self.alphas),
            "seed": settings.evaluation.seed,
            "modes": [list(settings.validation.modes), list(settings.evaluation.general_modes)],
            "weights": [hash_weights(one) for one in (ends.pretrained, ends.start, ends.tuned)],
            "preparation": [one.preparation.to_json() for one in (ends.pretrained, ends.tuned)],
            "images": [_hash_images(one) for one in (self.own, self.general)],
        }

    def answer(self, progress: Progress = SILENT) -> tuple[CurvePoint, ...]:
        """Measure the curve."""
        ends, settings = self.ends, self.ends.settings
        # Where only the decoder was tuned, all blends share one encoder, and each image is encoded once.
        shared = fingerprint(ends.start) == fingerprint(ends.tuned)
        own, general = (
            Trial(images, modes, RememberedEmbedder() if shared else None)
            for images, modes in (
                (self.own, settings.validation.modes),
                (self.general, settings.evaluation.general_modes),
            )
        )
        return measure_curve(
            open_base(settings.model, ends.device), ends.weights, self.alphas, own, general,
            reference=None if ends.pretrained is ends.start else ends.pretrained,
            seed=settings.evaluation.seed, progress=progress,
        )  # fmt: skip


def kept_curve(file: Path, asked: Mapping[str, Any]) -> tuple[CurvePoint, ...] | None:
    """Return the curve that a blend.json holds where it answers the same question; None where there is none.

    Args:
        file: of an earlier blend, whether or not it came to its end.
        asked: from `Question.describe`.
    """
    told = read_json(file) if file.is_file() else {}
    if told.get("measured") != asked:
        return None
    return tuple(CurvePoint(one["alpha"], Change(**one["gain"]), Change(**one["general"])) for one in told["curve"])


def _hash_images(dataset: Dataset) -> str:
    """Return the SHA-256, in hex, of names, image files and masks; what cannot be read counts by its name."""
    state = hashlib.sha256()
    for row, item in enumerate(read_ahead(dataset, images=False)):
        if isinstance(item, SetAside):
            state.update(repr((item.name, None)).encode())
            continue
        sample = item.sample
        masks = [one.counts.tobytes() for one in (*sample.objects, *filter(None, (sample.ignore,)))]
        state.update(repr((sample.name, dataset.image_hash(row), sample.size, list(map(len, masks)))).encode())
        state.update(b"".join(masks))
    return state.hexdigest()
