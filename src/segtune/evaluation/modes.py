"""Prompt modes as data: how an object is first prompted and how often the answer is corrected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from segtune.evaluation import MODES, default_modes


@dataclass(frozen=True)
class Mode:
    """One way of prompting, the same for every model.

    Attributes:
        name: its name in the results and on the command line.
        title: what it is, in words for people.
        prompt: the simulator (`segtune.prompts.PROMPTS`) that draws the first prompt; None: nobody points at objects,
            they are looked for among the automatic masks of the image (`segtune.segment.everything`).
        corrections: clicks that follow, each at the centre of the largest error of the scored mask at original size,
            with the logits fed back.
        kinds: kinds of prompt a model must accept.
        has_baselines: whether the box and the ellipse in it are scored beside the models.
    """

    name: str
    title: str
    prompt: str | None
    corrections: int = 0
    kinds: frozenset[str] = frozenset({"points"})
    has_baselines: bool = False

    @property
    def has_loss(self) -> bool:
        """Whether its answers have a loss: of automatic masks no logits are kept."""
        return self.prompt is not None


CLICK = Mode("click", "one click at the inner centre", "click")
RANDOM_CLICK = Mode("random_click", "one click anywhere in the object", "random_click")
CLICKS3 = Mode("clicks3", "three clicks, two of them corrections", "click", 2, frozenset({"points", "masks"}))
CLICKS5 = Mode("clicks5", "five clicks, four of them corrections", "click", 4, frozenset({"points", "masks"}))
BOX = Mode("box", "a tight box", "box", kinds=frozenset({"boxes"}), has_baselines=True)
LOOSE_BOX = Mode("loose_box", "a box up to 20 % too large", "loose_box", kinds=frozenset({"boxes"}), has_baselines=True)
POINT_BOX = Mode("point_box", "a click and a tight box", "point_box", kinds=frozenset({"points", "boxes"}))
MASK = Mode("mask", "a coarse mask", "mask", kinds=frozenset({"masks"}))
EVERYTHING = Mode("everything", "no prompt: the best of the 100 likeliest automatic masks for each object", None)


@dataclass(frozen=True)
class Interaction:
    """One rollout that serves several modes: those that share a first prompt are prefixes of the longest.

    Attributes:
        prompt: name of the simulator of the first prompt.
        scored: the mode that is read off after 0, 1, 2, … corrections.
    """

    prompt: str
    scored: dict[int, Mode]

    @property
    def rounds(self) -> int:
        """Number of decodes."""
        return max(self.scored) + 1


def find_modes(names: Iterable[str] | None = None) -> tuple[Mode, ...]:
    """Return the modes of these names, each once, in the registry's order; without names `default_modes()`.

    Raises:
        UsageError: a name that is not registered.
    """
    wanted = set(default_modes() if names is None else names)
    found = {name: MODES[name] for name in wanted}
    # However they were asked for: rows come in one order.
    return tuple(found[name] for name in MODES if name in found)


def plan_interactions(modes: Sequence[Mode]) -> tuple[Interaction, ...]:
    """Gather modes into the fewest rollouts; modes without a prompt need none."""
    prompted = [(mode.prompt, mode.corrections, mode) for mode in modes if mode.prompt is not None]
    # groupby joins neighbours only.
    ordered = sorted(prompted, key=lambda one: one[:2])
    return tuple(
        Interaction(prompt, {corrections: mode for _, corrections, mode in shared})
        for prompt, shared in groupby(ordered, key=lambda one: one[0])
    )
