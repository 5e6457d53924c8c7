"""Sharing out images among parts: what belongs together stays together, and every part gets objects of every size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
import numpy.typing as npt

Lack = npt.NDArray[np.float64]

_BUCKETS = 5
"""Buckets of object size over which parts are balanced; images without objects are one more."""

Unit = tuple[str, ...]
"""Names that must stay together, sorted."""


def independent_units(names: Sequence[str], groups: Sequence[str | None], alike: Sequence[Sequence[str]]) -> list[Unit]:
    """Return the sets of images that are independent of each other, in an order that depends on the names alone.

    Args:
        names: of the images.
        groups: patient, scene or video of each, or None.
        alike: further groups of names that belong together; names that are not among `names` are passed over.
    """
    members: dict[str, list[str]] = {name: [name] for name in names}
    by_group: dict[str, list[str]] = {}
    for name, group in zip(names, groups, strict=True):
        if group is not None:
            by_group.setdefault(group, []).append(name)
    for together in [*by_group.values(), *alike]:
        here = [name for name in together if name in members]
        for name in here[1:]:
            first, second = members[here[0]], members[name]
            if first is not second:
                first.extend(second)
                # All names of a unit share one list.
                members.update(dict.fromkeys(second, first))
    return sorted({tuple(sorted(unit)) for unit in members.values()})


def size_buckets(units: Sequence[Unit], areas: Mapping[str, float]) -> list[int]:
    """Return the bucket of each unit: 0 without objects, else by quantiles of its mean area.

    Args:
        units: the sets of images.
        areas: mean object area of each image, as a share of it.
    """
    mean = np.array([np.mean([areas.get(name, 0.0) for name in unit]) for unit in units])
    filled = mean[mean > 0]
    # Five units a bucket at least: finer, and the buckets say less than chance.
    count = max(1, min(_BUCKETS, len(filled) // 5))
    edges = np.quantile(filled, np.linspace(0, 1, count + 1)[1:-1]) if len(filled) else np.zeros(0)
    return [0 if value == 0 else 1 + int(np.searchsorted(edges, value, side="right")) for value in mean]


def allocate(
    units: Sequence[Unit], buckets: Sequence[int], fractions: tuple[float, float, float], rng: np.random.Generator
) -> list[int]:
    """Return the part (0 to 2) of each unit: the one that lacks most of its bucket, then of all (Sechidis 2011).

    Sets of several images come first, the largest first, so that single images even out what they leave; what a bucket
    still lacks is carried to the next, so that the parts' sizes are as asked to the image. Few or large units may leave
    a part without any: see `fill_parts`.
    """
    sizes, where, shares = np.array([len(unit) for unit in units]), np.array(buckets), np.array(fractions)
    lacking = {bucket: shares * sizes[where == bucket].sum() for bucket in sorted(set(buckets))}  # [3] each
    order = rng.permutation(len(units))
    side = [0] * len(units)
    # Stable: units of one size stay in the order drawn.
    for unit in order[np.argsort(-sizes[order], kind="stable")].tolist():
        if sizes[unit] > 1:
            side[unit] = _give(lacking[buckets[unit]], sum(lacking.values()), int(sizes[unit]), fractions)
    carried = np.zeros(3)
    for bucket, lack in lacking.items():
        # In place: it is the bucket's own array.
        lack += carried
        for unit in order[(where[order] == bucket) & (sizes[order] == 1)].tolist():
            side[unit] = _give(lack, lack, 1, fractions)
        carried = lack
    return side


def fill_parts(
    units: Sequence[Unit], buckets: Sequence[int], side: list[int], wanted: Sequence[int], free: Set[int]
) -> None:
    """Move units so that every wanted part has one, and one with objects, as long as there are enough.

    Args:
        units: the sets of images.
        buckets: the bucket of each (`size_buckets`).
        side: the part of each; changed in place.
        wanted: parts that must have one.
        free: units that may be moved, as places in `units`; the others stay.
    """
    _fill_empty(units, side, wanted, range(len(units)), free)
    # Without a single object a part can neither train nor choose nor prove anything.
    _fill_empty(units, side, wanted, [unit for unit, bucket in enumerate(buckets) if bucket > 0], free)


def _give(lack: Lack, lack_of_all: Lack, size: int, fractions: tuple[float, float, float]) -> int:
    """Return the part that lacks most, and note that it now lacks `size` images less."""
    # Rounded, since shares that are equal on paper differ in their last bits.
    ranked = sorted(range(3), key=lambda part: (-round(float(lack[part]), 9), -round(float(lack_of_all[part]), 9)))
    part = next(part for part in ranked if fractions[part] > 0)
    lack[part] -= size
    return part


def _fill_empty(
    units: Sequence[Unit], side: list[int], wanted: Sequence[int], able: Sequence[int], free: Set[int]
) -> None:
    """Give each wanted part that has none of the units in `able` the smallest free one of the part with most free ones.

    A unit of the same size goes back in exchange where there is one, so that the parts keep their sizes.
    """
    for part in wanted:
        if any(side[unit] == part for unit in able):
            continue
        held = {other: [unit for unit in able if side[unit] == other] for other in wanted}
        given = {other: [unit for unit in held[other] if unit in free] for other in wanted}
        richest = max(wanted, key=lambda other: (len(given[other]), len(held[other])))
        if len(held[richest]) < 2 or not given[richest]:
            continue
        moved = min(given[richest], key=lambda unit: (len(units[unit]), unit))
        same = [unit for unit in free if side[unit] == part and len(units[unit]) == len(units[moved])]
        side[moved] = part
        if same:
            side[min(same)] = richest
