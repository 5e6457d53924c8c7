"""The names of prompt modes, metrics and models in words for people, in the order a report shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BASELINE = "baseline:"


@dataclass(frozen=True)
class Term:
    """One name of the prompt matrix.

    Attributes:
        label: what a table calls it.
        meaning: one sentence on how it is made or measured.
        places: decimals it is printed with.
        higher_is_better: false for losses.
    """

    label: str
    meaning: str
    places: int = 3
    higher_is_better: bool = True


MODES: Mapping[str, Term] = {
    "click": Term("1 centre click", "One click at the inner centre of the object: the point farthest from its edge."),
    "random_click": Term("1 random click", "One click anywhere in the object, uniformly drawn."),
    "clicks3": Term("3 clicks", "The centre click and 2 corrections, each at the centre of the largest error."),
    "clicks5": Term("5 clicks", "The centre click and 4 corrections, each at the centre of the largest error."),
    "box": Term("Tight box", "The smallest box around the object."),
    "loose_box": Term("Loose box", "The tight box with each side moved outward by 0 to 20 % of the box."),
    "point_box": Term("Click + box", "The centre click and the tight box together."),
    "mask": Term("Coarse mask", "A warped copy of the true mask, IoU .60 to .80 with it, and nothing else."),
    "everything": Term("Everything", "No prompt: the best automatic mask for each true object."),
}

METRICS: Mapping[str, Term] = {
    "iou": Term("IoU", "Shared pixels over the pixels of either mask, |P∩T| / |P∪T|."),
    "dice": Term("Dice", "Twice the shared pixels over the sum of both masks, 2|P∩T| / (|P| + |T|)."),
    "precision": Term("Precision", "The share of predicted pixels that are true, |P∩T| / |P|."),
    "recall": Term("Recall", "The share of true pixels that were found, |P∩T| / |T|."),
    "boundary_iou": Term("Boundary IoU", "IoU of the bands along both outlines, 2 % of the image's diagonal wide."),
    "loss": Term("Loss", "20/21 focal + 1/21 Dice on the model's own logits; lower is better.", 4, False),
}

MODELS: Mapping[str, str] = {
    "pretrained": "Pretrained",
    "tuned": "Tuned",
    "blended": "Blended",
    "baseline:box": "Box itself",
    "baseline:ellipse": "Ellipse in box",
}


def mode_term(name: str) -> Term:
    """Return the words for a prompt mode; a mode of another package stands by its own name."""
    return MODES.get(name, Term(name, ""))


def metric_term(name: str) -> Term:
    """Return the words for a metric; a metric of another package stands by its own name."""
    return METRICS.get(name, Term(name, ""))


def model_label(name: str) -> str:
    """Return what tables call a model."""
    return MODELS.get(name, name)


def in_order(names: Iterable[str], known: Mapping[str, object]) -> tuple[str, ...]:
    """Return distinct names, the known ones in the glossary's order, the others after them as they came."""
    found = tuple(dict.fromkeys(names))
    return tuple(name for name in known if name in found) + tuple(name for name in found if name not in known)
