"""Phrases in, masks out: an open-vocabulary detector gives boxes, any promptable model the masks. Experimental.

The detector is one of transformers' for zero-shot detection (OWLv2, Grounding DINO) or SAM 3's own, by hub id or from a
local folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from segtune.core.errors import MissingExtraError, ModelError, UsageError
from segtune.core.types import Image
from segtune.segment.concepts import CONCEPT_TYPES, open_concepts
from segtune.segment.suppression import suppress
from segtune.segment.wishes import Wish

DETECTOR = "google/owlv2-base-patch16-ensemble"
"""Apache-2.0, as is the code that made it."""

THRESHOLD = 0.2

_DOUBLE = 0.5
"""IoU above which two boxes for one phrase are of the same thing."""

_TEXT_THRESHOLD = 0.2
"""Grounding DINO's second threshold, by which it names what it found: with one phrase at a time all are of it."""


@dataclass(frozen=True)
class FoundBox:
    """One box for a phrase.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the image, inside it.
        phrase: as asked.
        score: the detector's own, 0 to 1.
    """

    box: tuple[float, float, float, float]
    phrase: str
    score: float


@dataclass(frozen=True)
class TextFinder:
    """Asks for what phrases name on each of many images (`Wishes.finder`).

    Attributes:
        detector: finds the boxes.
        phrases: what to look for; they become the objects' classes.
        threshold: score from which on a box counts.
        name: of the detector, to tell one job from another.
    """

    detector: TextDetector
    phrases: tuple[str, ...]
    threshold: float = THRESHOLD
    name: str = DETECTOR

    @property
    def labels(self) -> tuple[str, ...]:
        """The phrases."""
        return self.phrases

    def __call__(self, image: Image) -> tuple[Wish, ...]:
        """Return a box for each object found on an image, uint8 [H, W, 3]."""
        found = self.detector.find(image, self.phrases, threshold=self.threshold)
        return tuple(Wish(box=one.box, label=one.phrase) for one in found)

    def describe(self) -> dict[str, Any]:
        """Return what two jobs must share to be the same."""
        return {"detector": self.name, "phrases": list(self.phrases), "threshold": self.threshold}

    def to(self, device: str) -> TextFinder:
        """Return it with its detector on another device."""
        return replace(self, detector=self.detector.to(device))


class TextDetector:
    """Finds boxes of what phrases name.

    Args:
        model: a zero-shot detector of transformers, in evaluation mode.
        processor: the processor that goes with it.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @classmethod
    def open(cls, spec: str | Path = DETECTOR, *, device: torch.device | str = "cpu") -> TextDetector:
        """Open a detector by hub id or from a folder.

        Raises:
            MissingExtraError: transformers is not installed.
            ModelError: it is not there, cannot be fetched, or is no such detector.
        """
        try:
            import transformers
        except ImportError as error:
            raise MissingExtraError("transformers", "hf", "Segmenting by text") from error
        try:
            if transformers.AutoConfig.from_pretrained(spec).model_type in CONCEPT_TYPES:
                model, processor = open_concepts(spec)
            else:
                processor = transformers.AutoProcessor.from_pretrained(spec)  # type: ignore[no-untyped-call]
                model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(spec)
        except Exception as error:  # errors of several network libraries come through, and of files of all kinds
            raise ModelError(
                f"The detector '{spec}' could not be opened ({type(error).__name__}). Give the hub id of an OWLv2, "
                "Grounding DINO or SAM 3 model and have a network, or give a folder with one: downloaded on another "
                "machine, it needs none. Without a detector, segment by boxes or clicks."
            ) from error
        return cls(model.to(device).eval(), processor)

    def to(self, device: torch.device | str) -> TextDetector:
        """Return it on a device; on another one a copy, for transformers would move the one that is in use."""
        there = self._model.device == torch.device(device)
        return self if there else TextDetector(deepcopy(self._model).to(device), self._processor)

    @torch.no_grad()
    def find(self, image: Image, phrases: Sequence[str], *, threshold: float = THRESHOLD) -> list[FoundBox]:
        """Return the boxes of what the phrases name, by phrase, the surest first.

        Args:
            image: uint8 [H, W, 3] RGB.
            phrases: what to look for, in English for most detectors.
            threshold: score from which on a box counts, 0 to 1.

        Raises:
            UsageError: no phrase, or an empty one.
        """
        if not phrases or not all(phrase.strip() for phrase in phrases):
            raise UsageError(
                "Text prompts are phrases such as 'polyp', separated by commas, but an empty one was given. Write at "
                "least a word for each."
            )
        # Grounding DINO names what it finds by pieces of the text, which need not be the phrases, and SAM 3 takes one
        # phrase: one at a time.
        kind = self._model.config.model_type
        grounded, alone = "grounding" in kind, "grounding" in kind or kind in CONCEPT_TYPES
        groups = [[phrase] for phrase in phrases] if alone else [list(phrases)]
        return [one for group in groups for one in self._find(image, group, threshold, grounded, alone)]

    def _find(self, image: Image, phrases: list[str], threshold: float, grounded: bool, alone: bool) -> list[FoundBox]:
        height, width = image.shape[:2]
        text = f"{phrases[0].lower().rstrip('.')}." if grounded else phrases[0] if alone else [phrases]
        # Of an array of 1, 3 or 4 rows transformers would take these for its channels.
        picture = PIL.Image.fromarray(image)
        given = self._processor(images=picture, text=text, return_tensors="pt").to(self._model.device)
        outputs = self._model(**given)
        more = {"input_ids": given["input_ids"], "text_threshold": _TEXT_THRESHOLD} if grounded else {}
        (found,) = self._processor.post_process_grounded_object_detection(
            outputs, threshold=threshold, target_sizes=[(height, width)], **more
        )
        boxes = found["boxes"].float().cpu().numpy().clip(0, [width, height, width, height]).astype(np.float32)
        scores = found["scores"].float().cpu().numpy().astype(np.float32)
        labels = np.zeros(len(scores), np.int64) if alone else np.asarray(found["labels"].cpu())
        result = []
        for number, phrase in enumerate(phrases):
            # A box that lies beside the image is cut down to nothing.
            there = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1
            rows = np.flatnonzero((labels == number) & there)
            for row in rows[suppress(boxes[rows], scores[rows], _DOUBLE)]:
                x0, y0, x1, y1 = (float(value) for value in boxes[row])
                result.append(FoundBox((x0, y0, x1, y1), phrase, float(scores[row])))
        return result


def find_by_text(
    text: str, detector: str | None = None, threshold: float = THRESHOLD, *, device: torch.device | str = "cpu"
) -> TextFinder:
    """Return the finder for phrases separated by commas.

    Args:
        text: "polyp, instrument".
        detector: as of `TextDetector.open`; None: the default one.
        threshold: score from which on a box counts.
        device: where the detector runs.

    Raises:
        UsageError: no phrase.
        MissingExtraError: transformers is not installed.
        ModelError: the detector cannot be opened.
    """
    phrases = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not phrases:
        raise UsageError(
            f"Text prompts are phrases such as 'polyp, instrument', but '{text}' was given. Name something."
        )
    name = detector or DETECTOR
    return TextFinder(TextDetector.open(name, device=device), phrases, threshold, name)
