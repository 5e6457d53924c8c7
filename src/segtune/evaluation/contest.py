"""All models and modes on one image: the same prompts for everyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from segtune.core.rle import BoolMask
from segtune.core.types import Embedding, Sample
from segtune.evaluation.answers import answer
from segtune.evaluation.automatic import Found, find_masks, match_masks
from segtune.evaluation.baselines import BASELINES
from segtune.evaluation.modes import CLICK, Interaction, Mode, plan_interactions
from segtune.evaluation.results import Suspect
from segtune.evaluation.review import Opinion, find_suspects, gives_an_opinion
from segtune.evaluation.scores import Scores, losses_of, metric_names, score_counts
from segtune.evaluation.targets import Target, draw_prompt, draw_targets
from segtune.evaluation.views import View
from segtune.models.family import PromptableModel
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import evaluating
from segtune.segment.everything import EverythingSettings
from segtune.segment.refine import Cleanup

Key: TypeAlias = tuple[str, str]
"""Model and mode."""

Column: TypeAlias = tuple[str, str, str]
"""Model, mode and metric."""

_FIRST_CLICK = "click"
_ONE_CLICK = Interaction(_FIRST_CLICK, {0: CLICK})


@dataclass(frozen=True)
class ScoredObject:
    """An object that was scored: its place in the sample, the share of the image it covers, its size bucket."""

    index: int
    share: float
    bucket: str


@dataclass
class ImageScores:
    """Scores of one image.

    Attributes:
        name: the image's.
        group: its patient, scene or video, or None.
        objects: the objects scored; empty for an image without any.
        scores: (model, mode) → scores of these objects, in their order.
        suspects: objects that the reviewing model doubts.
        false_mask: for an image without objects: model → whether a click at the centre, or at that of what is not
            ignored, gave a mask.
    """

    name: str
    group: str | None
    objects: list[ScoredObject] = field(default_factory=list)
    scores: dict[Key, Scores] = field(default_factory=dict)
    suspects: list[Suspect] = field(default_factory=list)
    false_mask: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Contest:
    """Who is asked what.

    Attributes:
        models: name → model.
        modes: prompt modes.
        seed: of the prompts.
        baselines: whether the shapes that take no skill are scored beside the models.
        everything: model's name → how it looks for automatic masks; `automatic.SCORED` for models not in it.
        cleanups: model's name → how its masks are cleaned; not at all for models not in it.
        reviewer: the model whose disagreement with labels is noted (`evaluation.review`), or None.
    """

    models: Mapping[str, PromptableModel]
    modes: Sequence[Mode]
    seed: int
    baselines: bool = True
    everything: Mapping[str, EverythingSettings] = field(default_factory=dict)
    cleanups: Mapping[str, Cleanup] = field(default_factory=dict)
    reviewer: str | None = None

    def answered_by(self, model: str) -> tuple[Mode, ...]:
        """Return the modes whose prompts the model accepts."""
        return tuple(mode for mode in self.modes if mode.kinds <= self.models[model].accepts)

    @property
    def can_review(self) -> bool:
        """Whether some model's disagreement is noted, and it is asked in enough ways to tell whether it is sure."""
        return self.reviewer is not None and sum(map(gives_an_opinion, self.answered_by(self.reviewer))) > 1

    @property
    def keys(self) -> tuple[Key, ...]:
        """All (model, mode) that are scored, the baselines last."""
        # The order here is that of rows in the matrix and of columns in memory.
        models = [(name, mode.name) for name in self.models for mode in self.answered_by(name)]
        return (*models, *((name, mode.name) for name in BASELINES for mode in self._boxed))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All figures there are of an image: each metric of each (model, mode), but the loss where there is none."""
        without_loss = {(model, mode.name) for model in self.models for mode in self.modes if not mode.has_loss}
        return tuple(
            (model, mode, metric)
            for model, mode in self.keys
            for metric in metric_names()
            if metric != "loss" or not (model in BASELINES or (model, mode) in without_loss)
        )

    def score(self, sample: Sample, embeddings: Mapping[str, Embedding]) -> ImageScores:
        """Score every model on one image.

        Args:
            sample: the image's objects.
            embeddings: model's name → its embedding of this image alone.
        """
        result = ImageScores(sample.name, sample.group)
        ignore = sample.ignore_mask()
        with evaluating(list(self.models.values())):
            views = self._views(embeddings, ignore)
            found = self._find(sample, embeddings, ignore)
            # Prompts are drawn before any model is asked, so that all get the same ones.
            for targets in draw_targets(sample, ignore, self._simulators, self.seed):
                result.objects += [ScoredObject(one.index, one.share, one.bucket) for one in targets]
                self._score_models(result, sample, targets, embeddings, views)
                self._score_automatic(result, targets, found)
                self._score_baselines(result, targets, ignore)
            # Also where all objects lie under ignored pixels.
            if not result.objects:
                self._look_for_false_masks(result, sample, ignore, embeddings, views)
        return result

    @property
    def _boxed(self) -> tuple[Mode, ...]:
        return tuple(mode for mode in self.modes if mode.has_baselines) if self.baselines else ()

    @property
    def _simulators(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(mode.prompt for mode in self.modes if mode.prompt is not None))

    def _views(self, embeddings: Mapping[str, Embedding], ignore: BoolMask | None) -> dict[str, View]:
        shapes = {name: (embeddings[name].frames[0], model.mask_size) for name, model in self.models.items()}
        # Models of one frame and output size share what is made of truth and ignored pixels.
        views = {shape: View(*shape, ignore) for shape in set(shapes.values())}
        return {name: views[shape] for name, shape in shapes.items()}

    def _score_models(
        self,
        result: ImageScores,
        sample: Sample,
        targets: Sequence[Target],
        embeddings: Mapping[str, Embedding],
        views: Mapping[str, View],
    ) -> None:
        truths = {view: view.truth(targets) for view in set(views.values())}
        for name in self.models:
            view, opinions = views[name], []
            for interaction in plan_interactions(self.answered_by(name)):
                cleanup = self.cleanups.get(name)
                for one in answer(self.models[name], embeddings[name], view, targets, interaction, cleanup):
                    losses = losses_of(one.logits, truths[view], view.valid)
                    scores = result.scores.setdefault((name, one.mode.name), Scores())
                    scores.add(targets, one.masks, losses, one.quality.tolist())
                    if name == self.reviewer and gives_an_opinion(one.mode):
                        own = score_counts(scores.counts[-len(targets) :])["iou"]
                        opinions.append(Opinion(one.mode.name, one.masks, one.quality.tolist(), own))
            result.suspects += find_suspects(sample, targets, opinions)

    def _find(
        self, sample: Sample, embeddings: Mapping[str, Embedding], ignore: BoolMask | None
    ) -> dict[str, tuple[Found, ...]]:
        """Return the automatic masks of each model that has a mode for them; of an image without objects none."""
        asked = [name for name in self.models if any(mode.prompt is None for mode in self.answered_by(name))]
        return {
            name: find_masks(
                self.models[name], embeddings[name], sample, ignore, self.everything.get(name), self.cleanups.get(name)
            )
            for name in (asked if sample.objects else ())
        }

    def _score_automatic(
        self, result: ImageScores, targets: Sequence[Target], found: Mapping[str, Sequence[Found]]
    ) -> None:
        for name, masks in found.items():
            matched, quality = match_masks(targets, masks)
            for mode in self.answered_by(name):
                if mode.prompt is None:
                    result.scores.setdefault((name, mode.name), Scores()).add(targets, matched, (), quality)

    def _score_baselines(self, result: ImageScores, targets: Sequence[Target], ignore: BoolMask | None) -> None:
        for mode in self._boxed:
            boxes = [target.prompts[mode.prompt].box for target in targets] if mode.prompt else []
            for name, fill in BASELINES.items():
                masks = [fill(box, targets[0].truth.size).without(ignore) for box in boxes if box is not None]
                result.scores.setdefault((name, mode.name), Scores()).add(targets, masks)

    def _look_for_false_masks(
        self,
        result: ImageScores,
        sample: Sample,
        ignore: BoolMask | None,
        embeddings: Mapping[str, Embedding],
        views: Mapping[str, View],
    ) -> None:
        # A truth of nothing, on which the simulator clicks at the centre of the image.
        nothing = np.zeros(sample.size, dtype=np.bool_)
        prompt = draw_prompt(_FIRST_CLICK, nothing, None, self.seed, sample.name, 0)
        if ignore is not None and ignore[tuple(prompt.points[0, ::-1].astype(int))]:
            # What is there may well be an object, of a crowd: nothing is asked about but what counts.
            if ignore.all():
                return
            prompt = draw_prompt(_FIRST_CLICK, ~ignore, None, self.seed, sample.name, 0)
        target = Target(0, MaskCrop.of(nothing), 0, {_FIRST_CLICK: prompt})
        for name, model in self.models.items():
            if CLICK.kinds <= model.accepts:
                cleanup = self.cleanups.get(name)
                for one in answer(model, embeddings[name], views[name], [target], _ONE_CLICK, cleanup):
                    result.false_mask[name] = bool(one.masks[0].inside.any())
