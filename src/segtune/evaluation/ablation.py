"""Settings compared: chosen by the validation images, told by the test images.

A trial is one training with one seed. All trials of a setting are averaged image by image, so that a difference between
settings is paired over the test images and free of what the luck of a seed adds to one image; its interval is the
bootstrap's over images (`statistics`), which says how far other images of the kind could change it. What another seed
could change stands beside it: each seed's own mean. A difference is called clear only where both agree.

The setting that wins does so by validation alone. Many settings looked at on the test images would make the best of
them look better than it is, and validation figures are those of the best epoch, so only the winner's test figure tells
how well it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segtune.evaluation.clicks import Figure
from segtune.evaluation.statistics import Bootstrap, Floats

SMALLEST = 0.001
"""Differences of IoU below this are never called clear: embeddings from the cache, of half precision, make some."""


@dataclass(frozen=True, eq=False)
class Trial:
    """One finished training.

    Attributes:
        setting: value by key of all that varies.
        seed: of the training.
        validation: its score on the validation images, mean IoU over modes; the pretrained model's if that is higher.
        crowned: whether it beat the pretrained model there.
        tuned: by mode, the IoU of each test image, float64 [n].
        pretrained: likewise before.
        parameters: how many trained.
    """

    setting: Mapping[str, str]
    seed: int
    validation: float
    crowned: bool
    tuned: Mapping[str, Floats]
    pretrained: Mapping[str, Floats]
    parameters: int = 0

    @property
    def after(self) -> Floats:
        """IoU of each test image, mean over modes, [n]."""
        return _mean(list(self.tuned.values()))

    @property
    def before(self) -> Floats:
        """Likewise of the pretrained model, [n]."""
        return _mean(list(self.pretrained.values()))


@dataclass(frozen=True)
class Standing:
    """How one setting does.

    Attributes:
        setting: value by key.
        seeds: those that were finished.
        validation: mean over seeds.
        validation_by_seed: each seed's score.
        test: IoU on the test images, mean over modes and seeds, with its interval over images.
        test_by_seed: each seed's mean.
        gain: test IoU less the pretrained model's, likewise.
        behind: test IoU less the winner's over the seeds that both have; None for the winner and without such seeds.
        clear: whether that difference is clear: `SMALLEST` or more, the interval without zero, every seed on its side.
        by_mode: test IoU of each mode.
        crowned: how many seeds beat the pretrained model on the validation images.
        parameters: how many trained.
    """

    setting: Mapping[str, str]
    seeds: tuple[int, ...]
    validation: float
    validation_by_seed: tuple[float, ...]
    test: Figure
    test_by_seed: tuple[float, ...]
    gain: Figure
    behind: Figure | None
    clear: bool
    by_mode: Mapping[str, float]
    crowned: int
    parameters: int


@dataclass(frozen=True)
class Effect:
    """One value of one key, averaged over all settings that have it; none where the grid has gaps.

    Attributes:
        key: what varies.
        value: its value.
        validation: mean.
        test: mean with its interval over images.
    """

    key: str
    value: str
    validation: float
    test: Figure


@dataclass(frozen=True)
class Ablation:
    """All settings of a comparison, the winner first and the others by their validation score.

    Attributes:
        standings: at least one.
        effects: per key that has several values, where there are several such keys.
        images: test images with objects.
        modes: prompt modes.
    """

    standings: tuple[Standing, ...]
    effects: tuple[Effect, ...]
    images: int
    modes: tuple[str, ...]

    @property
    def winner(self) -> Standing:
        """The setting of the best validation score among those with most seeds finished."""
        return self.standings[0]


def compare_trials(trials: Sequence[Trial], groups: Sequence[str | None], *, seed: int = 0) -> Ablation:
    """Compare trials on the same test images.

    Args:
        trials: at least one; all of the same images in the same order. Only modes that all were scored in count.
        groups: each image's patient, scene or video, or None.
        seed: of the intervals.
    """
    settings: dict[tuple[str, ...], list[Trial]] = {}
    modes = [mode for mode in trials[0].tuned if all(mode in trial.tuned for trial in trials)]
    for trial in (_in_modes(trial, modes) for trial in trials):
        settings.setdefault(tuple(trial.setting.values()), []).append(trial)
    # A setting of which a seed is missing may owe its mean to the one that is not.
    ranked = sorted(settings.values(), key=lambda some: (-len(some), -_validation(some)))
    ranked = [ranked[0], *sorted(ranked[1:], key=lambda some: -_validation(some))]
    standings = tuple(_standing(some, ranked[0], groups, seed) for some in ranked)
    return Ablation(standings, _effects(ranked, groups, seed), len(groups), tuple(modes))


def _in_modes(trial: Trial, modes: Sequence[str]) -> Trial:
    tuned, pretrained = ({mode: scores[mode] for mode in modes} for scores in (trial.tuned, trial.pretrained))
    return replace(trial, tuned=tuned, pretrained=pretrained)


def _standing(own: Sequence[Trial], best: Sequence[Trial], groups: Sequence[str | None], seed: int) -> Standing:
    rivals = {trial.seed: trial for trial in best}
    shared = [trial for trial in own if trial.seed in rivals]
    is_rival = own is not best and bool(shared)
    columns = [_mean([trial.after for trial in own]), _mean([trial.before for trial in own])]
    if is_rival:
        columns += [_mean([one.after for one in shared]), _mean([rivals[one.seed].after for one in shared])]
    bootstrap = Bootstrap(np.stack(columns, axis=1), groups, seed=seed)
    behind = _figure(bootstrap, 2, 3) if is_rival else None
    apart = [float((one.after - rivals[one.seed].after).mean()) for one in shared]
    return Standing(
        setting=own[0].setting,
        seeds=tuple(one.seed for one in own),
        validation=_validation(own),
        validation_by_seed=tuple(one.validation for one in own),
        test=_figure(bootstrap, 0),
        test_by_seed=tuple(float(one.after.mean()) for one in own),
        gain=_figure(bootstrap, 0, 1),
        behind=behind,
        clear=behind is not None and _is_clear(behind, apart),
        by_mode={mode: float(np.mean([one.tuned[mode].mean() for one in own])) for mode in own[0].tuned},
        crowned=sum(one.crowned for one in own),
        parameters=own[0].parameters,
    )


def _is_clear(difference: Figure, by_seed: Sequence[float]) -> bool:
    if difference.low is None or difference.high is None or abs(difference.mean) < SMALLEST:
        return False
    above, below = difference.low > 0, difference.high < 0
    return (above and min(by_seed) > 0) or (below and max(by_seed) < 0)


def _effects(settings: Sequence[Sequence[Trial]], groups: Sequence[str | None], seed: int) -> tuple[Effect, ...]:
    setting = settings[0][0].setting
    values = {key: list(dict.fromkeys(some[0].setting[key] for some in settings)) for key in setting}
    varied = [key for key in values if len(values[key]) > 1]
    is_whole = len(settings) == np.prod([len(each) for each in values.values()])
    # With gaps the means of two values would be over different settings.
    if len(varied) < 2 or not is_whole or len({len(some) for some in settings}) > 1:
        return ()
    found = []
    for key in varied:
        for value in values[key]:
            having = [one for some in settings for one in some if one.setting[key] == value]
            bootstrap = Bootstrap(_mean([one.after for one in having])[:, None], groups, seed=seed)
            found.append(Effect(key, value, _validation(having), _figure(bootstrap, 0)))
    return tuple(found)


def _validation(trials: Sequence[Trial]) -> float:
    return float(np.mean([trial.validation for trial in trials]))


def _mean(some: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(some, axis=0), dtype=np.float64)


def _figure(bootstrap: Bootstrap, column: int, minus: int | None = None) -> Figure:
    interval = bootstrap.interval(column, minus)
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Figure(bootstrap.mean(column, minus), low, high)
