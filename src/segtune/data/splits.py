"""Splits: which images are trained on, which choose the best epoch, and which are kept for the final figures."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segtune.core.errors import DataError, UsageError
from segtune.core.files import hash_text, read_json, write_json
from segtune.data.dataset import Dataset
from segtune.data.formats.names import NameIndex
from segtune.data.split_lists import read_lists
from segtune.data.stratify import allocate, fill_parts, independent_units, size_buckets

PARTS = ("train", "val", "test")

FRACTIONS = (0.70, 0.15, 0.15)


@dataclass(frozen=True)
class Split:
    """Names of the images in each part; no name is in two.

    Attributes:
        train: trained on.
        val: chooses the best epoch.
        test: seen by nothing before the final figures. May be empty where the user's own lists name none.
        seed: it was drawn with.
        fractions: of train, val and test that were asked for.
        sha256: of the parts' names, in hex, whatever their order.
        origin: how it came to be, in words.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    seed: int
    fractions: tuple[float, float, float]
    sha256: str
    origin: str

    @classmethod
    def of(
        cls, parts: Mapping[str, Iterable[str]], *, seed: int, fractions: tuple[float, float, float], origin: str
    ) -> Split:
        """Return the split of these parts.

        Raises:
            DataError: a name is in two parts, or twice in one.
        """
        train, val, test = (tuple(parts.get(part, ())) for part in PARTS)
        _refuse_overlap({"train": train, "val": val, "test": test}, origin)
        return cls(train, val, test, seed, fractions, _hash(train, val, test), origin)

    def part(self, name: str) -> tuple[str, ...]:
        """Return the names of "train", "val", "test" or "all".

        Raises:
            UsageError: another word.
        """
        if name == "all":
            return (*self.train, *self.val, *self.test)
        if name not in PARTS:
            raise UsageError(f"A split has no part '{name}'. Choose one of: {', '.join(PARTS)}, all.")
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def to_json(self) -> dict[str, Any]:
        """Return what `split.json` holds."""
        return {
            "schema": 1, "origin": self.origin, "seed": self.seed, "fractions": list(self.fractions),
            "sha256": self.sha256, "sizes": {part: len(self.part(part)) for part in PARTS},
            **{part: list(self.part(part)) for part in PARTS},
        }  # fmt: skip


def make_split(
    dataset: Dataset,
    *,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    alike: Sequence[Sequence[str]] = (),
    areas: Mapping[str, float] | None = None,
    only_train: Collection[str] = (),
) -> Split:
    """Draw a split: whole groups on one side, parts balanced by object size, no wanted part empty.

    Args:
        dataset: the images.
        fractions: of train, val and test; they sum to 1. A part of fraction 0 stays empty.
        seed: same seed, same names: same split, whatever the order of the images.
        alike: groups of names that must stay on one side (`duplicates.Duplicates.groups`).
        areas: mean object area of each image as a share of it (0 without objects); read from the masks without it.
        only_train: images that may only train, with all that belongs together with them; the other parts get their
            shares of the whole from the rest, as far as it goes.

    Raises:
        DataError: fewer independent images than parts.
        UsageError: fractions that are none.
    """
    check_fractions(fractions)
    units = independent_units(dataset.names, dataset.groups, alike)
    wanted = sum(fraction > 0 for fraction in fractions)
    if len(units) < wanted:
        raise DataError(_too_few(len(dataset), len(units), wanted))
    buckets = size_buckets(units, _areas(dataset) if areas is None else areas)
    free = [row for row, unit in enumerate(units) if set(only_train).isdisjoint(unit)]
    shares = fractions if len(free) == len(units) else _shares_of_rest(fractions, units, free)
    # With units that only train, training needs none of the free ones.
    if len(free) < wanted - (len(free) < len(units)):
        raise DataError(
            f"All but {len(free)} of the {len(units)} independent images here are ones, or nearly duplicate ones, that "
            "the base was trained or chosen on, so nothing is left for a fair test. Add new images, start from the "
            "base's own base, or give a split of your own by --set data.split=FILE, knowing that it will flatter."
        )
    given = allocate([units[row] for row in free], [buckets[row] for row in free], shares, np.random.default_rng(seed))
    side = [0] * len(units)
    for row, part in zip(free, given, strict=True):
        side[row] = part
    fill_parts(units, buckets, side, [part for part in range(3) if fractions[part] > 0], {*free})
    chosen: dict[str, set[str]] = {part: set() for part in PARTS}
    for unit, part in zip(units, side, strict=True):
        chosen[PARTS[part]].update(unit)
    # In the data set's order again, whatever the order of the draw.
    parts = {part: [name for name in dataset.names if name in chosen[part]] for part in PARTS}
    return Split.of(parts, seed=seed, fractions=fractions, origin=_origin(dataset, fractions, seed, alike))


def read_split(path: Path) -> Split:
    """Read a split: a `split.json`, a folder with one list of names per part, or any one of these lists.

    Lists are text files with a name or a stem per line, called after their part (`official_split_train.txt`). Bring the
    names to those of a data set with `resolve`.

    Raises:
        DataError: nothing there that can be read, a name in two parts, or a file changed since it was hashed.
    """
    path = Path(path)
    if path.is_dir():
        inside = path / "split.json"
        return _read_json(inside) if inside.exists() else _read_lists(path)
    if not path.exists():
        raise DataError(f"There is no split at {path}. Give a split.json, or a folder of lists such as train.txt.")
    if path.suffix.lower() == ".json":
        return _read_json(path)
    return _read_lists(path)


def write_split(path: Path, split: Split) -> None:
    """Write `split.json`, durably."""
    write_json(path, split.to_json())


def resolve(split: Split, dataset: Dataset, *, unreadable: Collection[str] = ()) -> Split:
    """Bring the names of a split, which may be stems, to those of a data set.

    Images that were set aside when the data set was opened are left out, and so are `unreadable` ones, which are no
    longer in it; the split's origin then says how many.

    Raises:
        DataError: a name that no image has, or several.
    """
    known = set(dataset.names)
    index = NameIndex(dict.fromkeys((*dataset.names, *unreadable, *(one.name for one in dataset.set_aside))))
    parts: dict[str, list[str]] = {}
    left_out = 0
    for part in PARTS:
        parts[part] = []
        for name in split.part(part):
            found = index.find(name)
            usable = [one for one in found if one in known]
            if len(usable) == 1:
                parts[part] += usable
            elif usable or not found:
                raise DataError(_unresolved(name, part, split, dataset, usable))
            else:
                left_out += 1
    origin = f"{split.origin}; less {left_out} that cannot be used" if left_out else split.origin
    return Split.of(parts, seed=split.seed, fractions=split.fractions, origin=origin)


def remarks(split: Split, given: Split, dataset: Dataset) -> tuple[str, ...]:
    """Return what is to be told of a split that a user gave, in sentences: what it lost, and whom it parts.

    Args:
        split: with the data set's names.
        given: as it was read.
        dataset: with the groups.
    """
    asked, used = len(given.part("all")), len(split.part("all"))
    words = [f"Of the {asked} images of the split, {asked - used} cannot be used and are left out."]
    if parted := parted_groups(split, dataset):
        words.append(
            f"{len(parted)} groups (patients, scenes or videos) have images in several parts of the split, {parted[0]} "
            "is one. What was learned on one of them is then tested on the same, and the figures flatter: give all of "
            "a group to one part, or leave data.split out for a split that keeps them whole."
        )
    return tuple(words if asked > used else words[1:])


def parted_groups(split: Split, dataset: Dataset) -> tuple[str, ...]:
    """Return the groups (patients, scenes, videos) with images in several parts of a split, by name."""
    members: dict[str, list[str]] = {}
    for name, group in zip(dataset.names, dataset.groups, strict=True):
        if group is not None:
            members.setdefault(group, []).append(name)
    parted = set(leaks(split, members.values()))
    return tuple(sorted(group for group, names in members.items() if tuple(names) in parted))


def keep_training(split: Split, most: int | None, *, seed: int = 0) -> Split:
    """Return the split with at most so many training images; validation and test stay as they are.

    Which ones is drawn by seed and names, and of one seed fewer are always among more: what a learning curve adds is
    added to what was there.
    """
    if most is None or most >= len(split.train):
        return split
    names = sorted(split.train)
    drawn = {names[row] for row in np.random.default_rng(seed).permutation(len(names))[:most].tolist()}
    parts = {"train": [name for name in split.train if name in drawn], "val": split.val, "test": split.test}
    origin = f"{split.origin}; {most} of {len(split.train)} training images, drawn with seed {seed}"
    return Split.of(parts, seed=split.seed, fractions=split.fractions, origin=origin)


def leaks(split: Split, alike: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of `alike` that lie on more than one side of a split: a user's own lists may part them."""
    side = {name: part for part in PARTS for name in split.part(part)}
    return tuple(tuple(group) for group in alike if len({side[name] for name in group if name in side}) > 1)


def _areas(dataset: Dataset) -> dict[str, float]:
    areas = {}
    for sample in dataset:
        pixels = sample.size[0] * sample.size[1]
        areas[sample.name] = float(np.mean([mask.area / pixels for mask in sample.objects])) if sample.objects else 0.0
    return areas


def _shares_of_rest(
    fractions: tuple[float, float, float], units: Sequence[Sequence[str]], free: Sequence[int]
) -> tuple[float, float, float]:
    """Return the shares of the free units that give validation and test their fractions of the whole."""
    rest, whole = sum(len(units[row]) for row in free), sum(map(len, units))
    scale = min(whole / max(rest, 1), 1 / max(fractions[1] + fractions[2], 1e-9))
    val, test = fractions[1] * scale, fractions[2] * scale
    return (max(0.0, 1 - val - test), val, test)


def check_fractions(fractions: tuple[float, float, float]) -> None:
    """Refuse fractions of train, val and test that no split can be drawn by.

    Raises:
        UsageError: they are not three shares that sum to 1, with some of train.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] == 0:
        raise UsageError(
            f"The fractions of train, val and test must be three shares that sum to 1, with some of train; got "
            f"{', '.join(f'{fraction:g}' for fraction in fractions)}. For example 0.7, 0.15, 0.15."
        )


def _too_few(images: int, units: int, parts: int) -> str:
    if images < parts:
        return (
            f"A split into {parts} parts needs at least {parts} images, one for each; this data set has {images}. "
            "Add images with masks; some twenty make the figures worth reading."
        )
    return (
        f"A split into {parts} parts needs at least {parts} images that are independent; the {images} here make "
        f"{units}, the others being of the same group or near-duplicates. Add images of other patients or scenes, or "
        "give a split of your own by --set data.split=FILE, knowing that the figures will flatter."
    )


def _origin(dataset: Dataset, fractions: tuple[float, float, float], seed: int, alike: Sequence[Sequence[str]]) -> str:
    words = [f"drawn {'/'.join(f'{100 * fraction:g}' for fraction in fractions)} with seed {seed}, by object size"]
    groups = {group for group in dataset.groups if group is not None}
    if groups:
        words.append(f"{len(groups)} groups whole")
    if alike:
        words.append(f"{len(alike)} groups of look-alikes whole")
    return ", ".join(words)


def _read_json(path: Path) -> Split:
    try:
        content = read_json(path)
        parts = {part: _names(content.get(part, ())) for part in PARTS}
        fractions = tuple(float(value) for value in content.get("fractions", _fractions(parts)))
        seed = int(content.get("seed", 0))
    except (ValueError, TypeError, AttributeError, json.JSONDecodeError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as a split ({error}). It must be JSON such as "
            '{"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]}.'
        ) from error
    if not any(parts.values()) or len(fractions) != 3:
        raise DataError(f"{path} names no image under train, val or test. List the images' names there.")
    split = Split.of(parts, seed=seed, fractions=fractions, origin=str(content.get("origin", f"read from {path.name}")))
    if content.get("sha256", split.sha256) != split.sha256:
        raise DataError(
            f"{path} was changed after it was written: its names no longer give the hash in it. Restore it, or, if the "
            "change is meant, remove its line 'sha256'."
        )
    return split


def _read_lists(path: Path) -> Split:
    parts, files = read_lists(path)
    return Split.of(parts, seed=0, fractions=_fractions(parts), origin=f"read from {files}")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"a part must be a list of names, not {value!r}")
    return tuple(str(name) for name in value)


def _fractions(parts: Mapping[str, Sequence[str]]) -> tuple[float, float, float]:
    total = max(1, sum(len(names) for names in parts.values()))
    train, val, test = (round(len(parts.get(part, ())) / total, 6) for part in PARTS)
    return train, val, test


def _refuse_overlap(parts: Mapping[str, Sequence[str]], origin: str) -> None:
    seen: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in seen:
                where = f"both in {seen[name]} and in {part}" if seen[name] != part else f"twice in {part}"
                raise DataError(
                    f"'{name}' is {where} of the split ({origin}). Figures on images that were trained on mean "
                    "nothing: leave it in one list only."
                )
            seen[name] = part


def _hash(train: Sequence[str], val: Sequence[str], test: Sequence[str]) -> str:
    # The text is fixed to the last blank: another spacing would be another hash.
    parts = {"train": sorted(train), "val": sorted(val), "test": sorted(test)}
    return hash_text(json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def _unresolved(name: str, part: str, split: Split, dataset: Dataset, found: Sequence[str]) -> str:
    if found:
        return (
            f"The split ({split.origin}) lists '{name}' under {part}, which {len(found)} images are called, "
            f"{found[0]} and {found[1]} among them. Write their names in full."
        )
    return (
        f"The split ({split.origin}) lists '{name}' under {part}, which no image of {dataset.root} is called. Names "
        f"are like '{dataset.names[0]}' or its stem '{PurePosixPath(dataset.names[0]).stem}'."
    )
