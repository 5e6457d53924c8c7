"""`check.html`: what the data doctor found, as one page that asks no other host for anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segtune.core.files import write_text
from segtune.data.check import Check
from segtune.data.check_findings import Finding, percent
from segtune.data.check_measure import Measured
from segtune.data.check_statistics import SHARE_BINS
from segtune.data.dataset import Dataset
from segtune.report.check_charts import Axis, bars, heat_map, named_bars, scatter, swatches
from segtune.report.check_pictures import Thumbnail, draw_thumbnails

MOSAIC = 24
"""Images of the mosaic."""

_SIDE = 300
_SHOWN, _IN_GROUP = 12, 4
"""Pictures shown with a finding, and of one group of those that belong together."""

_LISTED = 400
"""Names written out in a finding's list; check.json has them all."""

_STRIP = 200
_STEPS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_TONES = {"error": "bad", "warning": "warning", "note": "note"}
_LEVELS = {"bad": "mend first", "warning": "usable", "good": "good"}


@dataclass(frozen=True)
class Shown:
    """A finding with its pictures.

    Attributes:
        finding: what was found.
        groups: pictures, those that belong together in one group.
        more: how many groups or pictures are not shown.
    """

    finding: Finding
    groups: tuple[tuple[Thumbnail, ...], ...]
    more: int


@dataclass(frozen=True)
class Figure:
    """A chart with its title and a sentence about it below it; a strip takes what is left of the row."""

    title: str
    svg: Any
    caption: str
    strip: bool = False


def write_check_page(check: Check, dataset: Dataset, path: Path) -> None:
    """Write the page of a check.

    Args:
        check: what was found.
        dataset: the data set it was found in; some of its images are read again, for their pictures.
        path: of the page.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    write_text(path, build_check_page(check, dataset))


def build_check_page(check: Check, dataset: Dataset) -> str:
    """Return the page as HTML."""
    # Imported here, so that a check without its page does not wait for a template engine.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("segtune.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "count": lambda number: f"{number:,}", "short": _short}
    # What the page shows is chosen first, so that each image is read once, whatever shows it.
    mosaic = choose_mosaic(check.measured)
    names = [*mosaic, *(name for finding in check.findings for group in _wanted(finding) for name in group)]
    pictures = draw_thumbnails(dataset, names, _SIDE)
    by_name = {one.name: one for one in check.measured}
    return environment.get_template("check.html.j2").render(
        check=check,
        # Inside the page, which is one file and asks no host for another.
        style=Markup(environment.loader.get_source(environment, "style.css")[0]),  # type: ignore[union-attr]
        tones=_TONES, levels=_LEVELS, listed=_LISTED,
        facts=key_facts(check),
        findings=[_show(finding, pictures) for finding in check.findings],
        figures=[replace(one, svg=Markup(one.svg)) for one in draw_figures(check)],
        mosaic=[(pictures[name], by_name[name]) for name in mosaic if name in pictures],
    )  # fmt: skip


def choose_mosaic(measured: Sequence[Measured]) -> list[str]:
    """Return names evenly over the sizes of objects, from the smallest to the largest; empty images come first."""
    ranked = sorted(measured, key=lambda one: (one.mean_share, one.name))
    # Places may round to the same image.
    chosen = np.unique(np.linspace(0, len(ranked) - 1, min(MOSAIC, len(ranked))).round().astype(int))
    return [ranked[index].name for index in chosen]


def key_facts(check: Check) -> list[tuple[str, str, str]]:
    """Return (label, value, remark) of what one wants to know first."""
    statistics = check.statistics
    sizes, share = statistics["image_size"], statistics["object_share"]
    number = statistics["objects_per_image"]
    empty = sum(count == 0 for count in check.object_counts)
    facts = [
        ("Images", f"{len(check.measured):,}", f"{empty:,} without objects" if empty else ""),
        ("Objects", f"{sum(check.object_counts):,}", _range(number) if check.measured else ""),
    ]
    if sum(check.object_counts):
        facts.append(("Object size, median", percent(share["median"]), "of its image"))
    if check.measured:
        remark = f"{sizes['distinct']:,} different sizes" if sizes["distinct"] > 1 else "all of one size"
        facts.append(
            ("Image size, median", f"{sizes['width']['median']:,.0f} × {sizes['height']['median']:,.0f}", remark)
        )
    alike, groups = sum(map(len, check.alike)), len(check.alike)
    remark = f"images in {groups:,} group{'s' if groups > 1 else ''}" if groups else "no image resembles another"
    facts.append(("Look-alikes", f"{alike:,}", remark))
    if check.set_aside:
        facts.append(("Left out", f"{len(check.set_aside):,}", "files"))
    return facts


def draw_figures(check: Check) -> Iterator[Figure]:
    """Yield the charts."""
    if not check.measured:
        return
    statistics = check.statistics
    objects = sum(check.object_counts)
    if objects:
        yield _share_figure(statistics)
        if len(statistics["objects_per_image"]["histogram"]) > 1:
            yield _count_figure(statistics, len(check.measured))
    yield _size_figure(check.measured)
    if objects:
        yield _place_figure(statistics)
    if len(statistics["labels"]) > 1:
        counts = list(statistics["labels"].items())
        rest = f" The other {len(counts) - 12:,} are rarer." if len(counts) > 12 else ""
        yield Figure("Classes", named_bars(counts[:12], "Objects of each class"), f"Objects of each class.{rest}")
    yield _colour_figure(check.measured)


def _share_figure(statistics: Mapping[str, Any]) -> Figure:
    share = statistics["object_share"]
    marks = tuple((10.0**power, f"{100 * 10.0**power:g} %") for power in range(-5, 1))
    # Decades without objects would squeeze the others.
    filled = [index for index, number in enumerate(share["histogram"]) if number]
    # Bins are five to a decade.
    first = 5 * (filled[0] // 5)
    axis = Axis(
        float(SHARE_BINS[first]), 1.0, tuple(mark for mark in marks if mark[0] >= SHARE_BINS[first] * 0.99),
        "share of the image", logarithmic=True,
    )  # fmt: skip
    words = f"Nine in ten cover {percent(share['low'])} to {percent(share['high'])} of their image."
    return Figure("Object size", bars(share["histogram"][first:], axis, "Histogram of object sizes"), words)


def _count_figure(statistics: Mapping[str, Any], images: int) -> Figure:
    number = statistics["objects_per_image"]
    words = {"0": "no object", "1": "1 object"}
    counts = [(words.get(name, f"{name} objects"), count) for name, count in number["histogram"].items()]
    chart = named_bars(counts, f"Objects on each of {images} images")
    return Figure("Objects per image", chart, f"{number['mean']:.3g} on average; {number['most']:,.0f} at most.")


def _size_figure(measured: Sequence[Measured]) -> Figure:
    sizes, counts = np.unique(np.array([one.size[::-1] for one in measured]), axis=0, return_counts=True)
    # The commonest sizes: a page of thousands of dots says no more.
    kept = np.argsort(-counts, kind="stable")[:400]
    axes = []
    for side, name in ((0, "width in pixels"), (1, "height")):
        top = float(sizes[:, side].max() * 1.08)
        step = next(
            step
            for step in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000)
            if top / step <= 5.5 or step == 50_000
        )
        axes.append(Axis(0, top, tuple((mark, f"{mark:,}") for mark in range(0, int(top) + 1, step)), name))
    dots = np.column_stack([sizes, counts])[kept].astype(np.float64)
    words = "Height against width; a larger dot stands for more images."
    return Figure("Image sizes", scatter(dots, axes[0], axes[1], "Heights and widths of the images"), words)


def _place_figure(statistics: Mapping[str, Any]) -> Figure:
    places = np.array(statistics["places"])
    # Very long images would leave a line of a map.
    aspect = float(np.clip(statistics["image_size"]["aspect"]["median"], 0.5, 2.0))
    most = percent(float(places.max()))
    words = f"Mean share of a place that is object, over the images with objects; {most} where it is largest."
    return Figure("Where objects lie", heat_map(places, aspect, "Map of where objects lie"), words)


def _colour_figure(measured: Sequence[Measured]) -> Figure:
    # The sum of the channels is near enough to brightness.
    ranked = sorted((one.colour for one in measured), key=sum)
    chosen = [ranked[index] for index in np.linspace(0, len(ranked) - 1, min(_STRIP, len(ranked))).round().astype(int)]
    words = "Mean colour of each image, dark to bright."
    return Figure("Colours", swatches(chosen, "Mean colours of the images"), words, strip=True)


def _wanted(finding: Finding) -> list[tuple[str, ...]]:
    """Return the names whose pictures a finding shows, in groups."""
    if not finding.groups:
        return [(name,) for name in finding.images[: _SHOWN // 2]]
    wanted: list[tuple[str, ...]] = []
    for group in finding.groups:
        # Groups are shown whole or not at all.
        if sum(map(len, wanted)) + min(len(group), _IN_GROUP) > _SHOWN:
            break
        wanted.append(group[:_IN_GROUP])
    return wanted


def _show(finding: Finding, pictures: Mapping[str, Thumbnail]) -> Shown:
    groups = [tuple(pictures[name] for name in group if name in pictures) for group in _wanted(finding)]
    shown = tuple(group for group in groups if group)
    total = len(finding.groups or finding.images)
    return Shown(finding, shown, total - len(shown) if shown else 0)


def _range(spread: Mapping[str, float]) -> str:
    low, high = spread["least"], spread["most"]
    return f"{low:,.0f} an image" if low == high else f"{low:,.0f} to {high:,.0f} an image"


def _short(name: str) -> str:
    """Return a file's name without its folder, long ones cut in their middle."""
    short = PurePosixPath(name).name
    return short if len(short) <= 30 else f"{short[:16]}…{short[-12:]}"
