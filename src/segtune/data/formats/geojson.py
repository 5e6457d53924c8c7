"""GeoJSON outlines: one file per image, or one for all whose features name their image.

Coordinates are pixels, x to the right and y down, as annotation tools for large images write them. On a GeoTIFF they
may be map coordinates of the image's own coordinate system: they are taken as such when they lie on the image's piece
of the map. A feature's class is its property label, class, category, classification (or its name) or name; one with the
property `ignore` marks pixels that do not count; one without a geometry says that its image has no object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.formats.annotations import AnnotationBuilder, Annotations
from segtune.data.formats.contract import OF_MASK_FILES, DataFormat, Options, SetAside
from segtune.data.formats.georeference import Georeference, is_tiff_name, read_georeference
from segtune.data.formats.groups import read_groups, write_groups
from segtune.data.formats.image_files import ImageFiles, ImageFinder, Size, check_sizes
from segtune.data.formats.polygons import Polygon, Ring, rasterise, trace
from segtune.data.formats.regions import OBJECT, Region, Truth
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree, composed, join, parent_of, stem_of
from segtune.data.formats.writing import write_image, written_names

_SUFFIX = ".geojson"
_LABEL_KEYS = ("label", "class", "class_name", "category", "classification", "name")
_IMAGE_KEYS = ("image", "image_name", "file", "file_name", "filename", "image_id")
_FOLDERS = ("labels", "annotations", "geojson", "geojsons", "vectors", "masks")
_SNIFFED = 4096
_GLOBE = (180.0, 90.0)
"""Largest longitude and latitude."""

_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Feature:
    """One feature: an object or, `ignored`, pixels that do not count."""

    label: str
    polygons: list[list[Ring]]
    ignored: bool = False
    image: str | None = None


@dataclass(kw_only=True)
class GeoJsonImages(ImageFiles):
    """Images with a file of features each, or with features of one file for all.

    Attributes:
        files: the file of each image below the data folder; empty when there is one for all.
        annotations: the features of the file for all, in its coordinates.
        classes: names of classes by their number in `annotations`.
    """

    files: Sequence[str]
    annotations: Annotations
    classes: Sequence[str]

    def truth(self, row: int) -> Truth:
        """Return the features of image `row`, filled."""
        features = read_features(self.root / self.files[row]) if self.files else self._features_of(row)
        path, size = self.root / self.names[row], self.sizes[row]
        reference = read_georeference(path) if is_tiff_name(path.name) else None
        placed = _in_pixels(features, size, reference, path)
        masks = [rasterise(polygons, size) for polygons in placed]
        regions = [Region(mask, one.label, n) for n, (mask, one) in enumerate(zip(masks, features, strict=True))
                   if not one.ignored]  # fmt: skip
        ignored = [mask for mask, one in zip(masks, features, strict=True) if one.ignored]
        return Truth(tuple(regions), union(ignored) if ignored else None)

    def _features_of(self, row: int) -> list[Feature]:
        held = self.annotations
        return [
            Feature(self.classes[held.label[at]], held.polygons(at), bool(held.crowd[at])) for at in held.of_image(row)
        ]


def detect(tree: Tree) -> float | None:
    """Return how sure it is that images with GeoJSON outlines lie here."""
    return 0.9 if _feature_files(tree) and ImageFinder(tree).paths else None


def read(tree: Tree, options: Options) -> GeoJsonImages:
    """Index images by their files of features, or by the features of one file.

    Raises:
        DataError: no images with features, or a file for all that cannot be read.
        MissingExtraError: an image is a TIFF, and tifffile is not installed.
    """
    files = _feature_files(tree)
    finder = ImageFinder(tree)
    if not files or not finder.paths:
        raise DataError(f"{tree.root} holds no images with GeoJSON. {tree.describe()} Expected: {_LAYOUT}.")
    file_of = _own_files(files, finder.paths)
    sizes, bad = check_sizes(tree.root, finder.paths, lambda _: None, options.pixel_limit)
    shared = [] if file_of else [one for path in files for one in read_features(tree.root / path)]
    of_image, astray = _by_image(shared, finder, tree.root, sizes)
    names = tuple(path for path in sizes if path in (file_of or of_image))
    classes = {label: number for number, label in enumerate(dict.fromkeys(one.label for one in shared))}
    groups, notes = read_groups(tree, names)
    lone = [_without_features(path) for path in sizes if path not in (file_of or of_image)]
    used = set(file_of.values())
    lone += [_without_image(path) for path in files if used and path not in used]
    return GeoJsonImages(
        root=tree.root, format=FORMAT.name, objects=options.objects, names=names, groups=groups,
        set_aside=tuple(sorted([*bad, *lone], key=lambda one: one.name)), notes=(*astray, *notes),
        sizes=[sizes[name] for name in names], pixel_limit=options.pixel_limit,
        files=[file_of[name] for name in names] if file_of else [],
        annotations=_flat([of_image.get(name, []) for name in names], classes), classes=list(classes),
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, each with a .geojson of outlines along pixel edges beside it; groups as groups.csv."""
    groups = []
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        held = zip(sample.objects, sample.labels, strict=True)
        features = [feature_of(mask, {"label": label}) for mask, label in held]
        if sample.ignore is not None:
            features.append(feature_of(sample.ignore, {"ignore": True}))
        text = json.dumps({"type": "FeatureCollection", "features": features})
        write_text(folder / "images" / f"{name}{_SUFFIX}", text)
        groups.append((f"images/{name}.png", sample.group))
    write_groups(folder, groups)


def read_features(path: Path) -> list[Feature]:
    """Return the features of a file that enclose something or name an image.

    Raises:
        DataError: it is no GeoJSON.
    """
    try:
        document = json.loads(path.read_bytes())
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        return [one for one in map(_parse, features) if one.polygons or one.image]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, IndexError) as error:
        raise DataError(f"{path} is no GeoJSON that can be read ({error!r}). Export it again.") from error


def _parse(feature: Mapping[str, Any]) -> Feature:
    properties = feature.get("properties") or {}
    label = next((properties[key] for key in _LABEL_KEYS if properties.get(key) is not None), OBJECT)
    # QuPath writes an object of name and colour.
    if isinstance(label, Mapping):
        label = label.get("name", OBJECT)
    image = next((str(properties[key]) for key in _IMAGE_KEYS if properties.get(key) is not None), None)
    return Feature(str(label), _polygons(feature.get("geometry")), bool(properties.get("ignore")), image)


def _polygons(geometry: Mapping[str, Any] | None) -> list[list[Ring]]:
    """Return the polygons of a geometry; points and lines enclose nothing."""
    kind = geometry["type"] if geometry else None
    if geometry is None or kind is None:
        return []
    if kind == "GeometryCollection":
        return [polygon for one in geometry["geometries"] for polygon in _polygons(one)]
    if kind not in {"Polygon", "MultiPolygon"}:
        return []
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    # One without an outer ring is a null geometry (RFC 7946, 3.1).
    return [_rings(rings) for rings in polygons if len(rings) and len(rings[0])]


def _rings(rings: Any) -> list[Ring]:
    # A third number would be the height (RFC 7946, 3.1.1).
    found = [np.array([point[:2] for point in ring], dtype=np.float64).reshape(-1, 2) for ring in rings if len(ring)]
    if not all(np.isfinite(ring).all() for ring in found):
        raise ValueError("coordinates must be finite numbers")
    return found


def feature_of(mask: RunLengths, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mask as a GeoJSON feature, outlined along pixel edges."""
    polygons = [[_closed(ring) for ring in rings] for rings in trace(mask)]
    geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _closed(ring: Ring) -> list[list[int]]:
    # A ring ends where it begins (RFC 7946, 3.1.6).
    return [[int(x), int(y)] for x, y in (*ring, ring[0])]


def _in_pixels(
    features: Sequence[Feature], size: Size, reference: Georeference | None, path: Path
) -> list[list[Polygon]]:
    """Return the polygons of each feature in pixels.

    Raises:
        DataError: they lie neither on the pixels nor on the image's piece of the map, or are longitude and latitude.
    """
    here: list[list[Polygon]] = [[*one.polygons] for one in features]
    if reference is None or not any(here):
        return here
    there: list[list[Polygon]] = [
        [[reference.to_pixels(ring) for ring in rings] for rings in one.polygons] for one in features
    ]
    if _touches(_flat_rings(there), size):
        return there
    rings = _flat_rings(here)
    degrees = _are_degrees(rings, size, reference)
    if _touches(rings, size) and not degrees:
        return here
    crs = f"EPSG:{reference.crs}" if reference.crs else "the image's coordinate system"
    raise DataError(
        f"The outlines of {path} lie neither on its pixels nor on its piece of the map"
        f"{': they look like longitude and latitude' if degrees else ''}. "
        f"Coordinates must be pixels or those of {crs}: bring them there first."
    )


def _flat_rings(features: Sequence[Sequence[Polygon]]) -> list[Ring]:
    return [ring for polygons in features for rings in polygons for ring in rings]


def _are_degrees(rings: Sequence[Ring], size: Size, reference: Georeference) -> bool:
    """Whether outlines are longitude and latitude, though the map is in another system.

    East of Greenwich and north of the equator such numbers lie on the pixels of most images, where they would be
    outlines narrower than a pixel; on a map of coarse pixels they are no wider than the image is in degrees.
    """
    points = np.concatenate(rings)
    corners = reference.to_map(np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]], dtype=np.float64))
    # Whole numbers are pixels: degrees hardly ever are.
    if not _on_globe(points) or _on_globe(corners) or (points == np.round(points)).all():
        return False
    widest = float(np.median([np.ptp(ring, axis=0).max() for ring in rings]))
    # A degree of longitude shrinks with the cosine of the latitude.
    narrowing = max(0.1, float(np.cos(np.radians(points[:, 1].mean()))))
    return widest < max(1.0, float(np.ptp(corners, axis=0).max()) / (_METRES_PER_DEGREE * narrowing))


def _on_globe(points: Ring) -> bool:
    return bool((np.abs(points) <= _GLOBE).all())


def _touches(rings: Sequence[Ring], size: Size) -> bool:
    points = np.concatenate(rings)
    # All together: single outlines may lie beyond the image.
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return bool(x0 < size[1] and y0 < size[0] and x1 > 0 and y1 > 0)


def _feature_files(tree: Tree) -> list[str]:
    """Return the paths of GeoJSON files, by extension or, of .json, by their first words."""
    paths = [tree.chosen] if tree.chosen is not None else tree.with_suffix(_SUFFIX, ".json")
    return [path for path in paths if path.lower().endswith(_SUFFIX) or _sounds_like_geojson(tree.root / path)]


def _sounds_like_geojson(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        return b'"FeatureCollection"' in file.read(_SNIFFED)


def _own_files(files: Sequence[str], images: Sequence[str]) -> dict[str, str]:
    """Return the file of each image that has one of its own: same stem, in the same folder or one beside it."""
    by_place: dict[tuple[str, str], str] = {}
    for path in files:
        stem = stem_of(path)
        by_place.setdefault((composed(parent_of(path)), stem), path)
        # X.jpg.geojson belongs to X.jpg, as X.geojson does.
        by_place.setdefault((composed(parent_of(path)), stem_of(stem)), path)
    own = {}
    for image in images:
        folder = parent_of(image)
        beside = [join(parent_of(folder), name) for name in _FOLDERS]
        for place in (folder, *beside):
            if file := by_place.get((composed(place), stem_of(image))):
                own[image] = file
                break
    return own


def _by_image(
    features: Sequence[Feature], finder: ImageFinder, root: Path, sizes: Mapping[str, Size]
) -> tuple[dict[str, list[Feature]], tuple[str, ...]]:
    """Return the features of each image: those that name it, or, of none that name any, those on its piece of map.

    Features of no image are told in a note.
    """
    found: dict[str, list[Feature]] = {}
    paths = finder.candidates({one.image for one in features if one.image is not None})
    astray: list[Feature] = []
    for one in features:
        path = _only(paths[one.image]) or finder.find_stem(one.image) if one.image is not None else None
        (found.setdefault(path, []) if path is not None else astray).append(one)
    if found or not features:
        return found, _told(astray, "name no image that is here")
    return _by_map(features, root, sizes)


def _by_map(
    features: Sequence[Feature], root: Path, sizes: Mapping[str, Size]
) -> tuple[dict[str, list[Feature]], tuple[str, ...]]:
    found: dict[str, list[Feature]] = {}
    for path, size in sizes.items():
        reference = read_georeference(root / path) if is_tiff_name(path) else None
        if reference is not None:
            found[path] = [one for one in features if _on_map(one, size, reference)]
    if found and not any(found.values()):
        raise DataError(
            f"The outlines in {root} lie on no image's piece of the map. Coordinates must be those of the images' own "
            "coordinate system: bring them there first, or let each feature name its image."
        )
    reached = {id(one) for held in found.values() for one in held}
    what = "lie on no image's piece of the map" if found else "name no image that is here"
    return found, _told([one for one in features if id(one) not in reached], what)


def _told(astray: Sequence[Feature], what: str) -> tuple[str, ...]:
    named = next((f", such as {one.image}," for one in astray if one.image), "")
    return (f"{len(astray)} features {what}{named} and are left out.",) if astray else ()


def _only(paths: Sequence[str]) -> str | None:
    return paths[0] if len(paths) == 1 else None


def _on_map(feature: Feature, size: Size, reference: Georeference) -> bool:
    rings = [reference.to_pixels(ring) for rings in feature.polygons for ring in rings]
    return bool(rings) and _touches(rings, size)


def _flat(of_image: Sequence[Sequence[Feature]], classes: Mapping[str, int]) -> Annotations:
    builder = AnnotationBuilder()
    for number, features in enumerate(of_image):
        for one in features:
            if one.polygons:
                builder.add_polygons(number, classes[one.label], one.polygons, crowd=one.ignored)
    return builder.finish()


def _without_features(path: str) -> SetAside:
    return SetAside(path, "no GeoJSON belongs to it", "Add its file, with no features when nothing is on the image.")


def _without_image(path: str) -> SetAside:
    reason = "no image has its name, or one that has another file"
    return SetAside(path, reason, "Put its image there, put all features of an image into one file, or remove it.")


_LAYOUT = "images with one .geojson each, or one FeatureCollection whose features name their image"
FORMAT = DataFormat("geojson", _LAYOUT, detect, read, write, (*OF_MASK_FILES, "bands", "window"))
