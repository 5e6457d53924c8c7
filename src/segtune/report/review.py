"""Labels worth a second look, as a report lists them."""

from __future__ import annotations

from dataclasses import dataclass

from segtune.evaluation.review import MOST_SUSPECTS
from segtune.report.gallery import LISTED_SUSPECTS, Place
from segtune.report.glossary import model_label
from segtune.report.numbers import count, decimal
from segtune.report.run import RunView


@dataclass(frozen=True)
class ReviewLine:
    """One object as texts; `place` is where the gallery holds its picture, if it has one."""

    place: Place
    rank: str
    image: str
    object: str
    reason: str
    iou: str
    quality: str
    agreement: str
    doubt: str


@dataclass(frozen=True)
class Review:
    """The list.

    Attributes:
        verdict: how many there are.
        meaning: how they were chosen.
        lines: those of most doubt first.
    """

    verdict: str
    meaning: str
    lines: tuple[ReviewLine, ...]


def build_review(run: RunView) -> Review | None:
    """Return the list; None where it was not looked for."""
    found, subject = run.results.review, run.pair[0]
    if found is None or subject is None:
        return None
    model = model_label(subject).lower() if subject in {"tuned", "blended"} else subject
    number = len(found)
    objects = count(run.results.data.get("objects"))
    verdict = f"Of {objects} objects none has a label that the {model} model is sure to see otherwise."
    if number:
        have = "objects have a label" if number > 1 else "object has a label"
        most = "At least " if number >= MOST_SUSPECTS else ""
        verdict = f"{most}{count(number)} of {objects} {have} that the {model} model sees otherwise, and is sure of it."
    # Labels that were learned from are the ones where mistakes do harm.
    part = run.results.data.get("part")
    if number >= MOST_SUSPECTS:
        verdict += " The list ends there, with those of most doubt."
    if part == "test":
        verdict += " These are test images; segtune evaluate RUN DATA --part train looks at those it was trained on."
    meaning = (
        "Doubt is told by two of the model's answers, to different clicks or boxes: the lower of their predicted "
        "qualities, times their agreement (IoU with each other), times one less the higher of their IoUs with the "
        "label. From .25 on an object is listed. The label may be wrong, or the model: look."
    )
    lines = tuple(
        ReviewLine(
            (one.image, one.mode, one.object), f"{rank}", one.image, f"{one.object}", one.reason, decimal(one.iou),
            decimal(one.quality), decimal(one.agreement), decimal(one.doubt),
        )
        for rank, one in enumerate(found[:LISTED_SUSPECTS], start=1)
    )  # fmt: skip
    return Review(verdict, meaning, lines)
