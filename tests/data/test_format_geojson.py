"""GeoJSON outlines in pixels and on the map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.formats.georeference import PIXEL_SCALE, TIE_POINT, Georeference

SQUARE = [[[6, 5], [18, 5], [18, 15], [6, 15], [6, 5]]]
"""Of 30 × 20 pixels the columns 6 to 17 and the rows 5 to 14."""


def feature(coordinates=SQUARE, kind="Polygon", **properties) -> dict:
    geometry = None if coordinates is None else {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def put(path: Path, *features: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (30, 20)).save(path)


def geotiff(path: Path, west: float = 400_000.0, north: float = 5_000_000.0) -> None:
    """Write an image of 30 × 20 pixels of half a metre at a place in UTM zone 33."""
    module = pytest.importorskip("tifffile")
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)
    tags = [(PIXEL_SCALE, 12, 3, (0.5, 0.5, 0.0), True), (TIE_POINT, 12, 6, (0, 0, 0, west, north, 0), True),
            (34735, 3, len(keys), keys, True)]  # fmt: skip
    module.imwrite(path, np.zeros((20, 30, 3), dtype=np.uint8), photometric="rgb", extratags=tags, metadata=None)


def on_map(ring, west: float = 400_000.0, north: float = 5_000_000.0):
    return [[[west + x * 0.5, north - y * 0.5] for x, y in ring[0]]]


@pytest.mark.parametrize(
    "place", ["images/a.geojson", "labels/a.geojson", "annotations/a.png.geojson", "labels/a.json"]
)
def test_a_file_per_image(tmp_path, place):
    """The outlines of an image lie beside it or in a folder beside its own."""
    image(tmp_path / "images" / "a.png")
    put(tmp_path / place, feature(label="roof"))
    data = open_dataset(tmp_path)
    assert (data.format, data.names) == ("geojson", ("images/a.png",))
    assert data[0].labels == ("roof",)
    assert data[0].objects[0].box == (6, 5, 18, 15)
    assert data[0].objects[0].area == 120


def test_holes_and_several_pieces(tmp_path):
    """A second ring is a hole, a multi-polygon is one object, points and lines are none."""
    image(tmp_path / "a.png")
    hole = [[8, 7], [10, 7], [10, 9], [8, 9], [8, 7]]
    pieces = [[[[0, 0], [3, 0], [3, 3], [0, 3]]], [[[20, 10, 5.5], [25, 10, 5.5], [25, 15, 5.5], [20, 15, 5.5]]]]
    put(tmp_path / "a.geojson", feature([*SQUARE, hole]), feature(pieces, "MultiPolygon"), feature([1, 2], "Point"))
    one = open_dataset(tmp_path)[0]
    assert [mask.area for mask in one.objects] == [120 - 4, 9 + 25]


def test_classes_as_tools_write_them(tmp_path):
    """A class may be text or an object with a name; without any it is an object."""
    image(tmp_path / "a.png")
    put(
        tmp_path / "a.geojson",
        feature(classification={"name": "Tumor", "color": [1, 2, 3]}),
        feature(category="b"),
        feature(),
    )
    assert open_dataset(tmp_path)[0].labels == ("Tumor", "b", "object")


def test_one_file_for_all(tmp_path):
    """Features name their image by path, name or stem; one without a geometry says that nothing is there."""
    for name in "abcd":
        image(tmp_path / "images" / f"{name}.png")
    put(
        tmp_path / "all.geojson",
        feature(image="a.png"),
        feature(image="b"),
        feature(image="images/a.png"),
        feature(None, image="c.png"),
    )
    data = open_dataset(tmp_path)
    assert [len(one.objects) for one in data] == [2, 1, 0]
    assert {one.name: one.reason for one in data.set_aside} == {"images/d.png": "no GeoJSON belongs to it"}


def test_features_of_no_image(tmp_path):
    """Features that name an image that is not here, or none beside others that do, are counted in a note."""
    image(tmp_path / "a.png")
    put(tmp_path / "all.geojson", *(feature(image=name) for name in ("a.png", "A.png", "c.png")), feature())
    data = open_dataset(tmp_path)
    assert len(data[0].objects) == 1
    assert data.notes == ("3 features name no image that is here, such as A.png, and are left out.",)


def test_a_file_of_no_image(tmp_path):
    """Where images have files of their own, a file that no image has is set aside, as is a second one of an image."""
    image(tmp_path / "images" / "a.png")
    for name in ("images/a", "images/lost", "labels/a"):
        put(tmp_path / f"{name}.geojson", feature())
    data = open_dataset(tmp_path)
    assert data.names == ("images/a.png",)
    assert [one.name for one in data.set_aside] == ["images/lost.geojson", "labels/a.geojson"]


def test_an_image_of_another_folder_is_not_the_missing_one(tmp_path):
    """A feature's image is not the one of its name in another folder, where its folder holds the others of it."""
    image(tmp_path / "p1" / "1.png")
    image(tmp_path / "p2" / "2.png")
    put(tmp_path / "all.geojson", feature(image="p1/1.png"), feature(image="p1/2.png"))
    assert open_dataset(tmp_path).names == ("p1/1.png",)


@pytest.mark.parametrize("name", ["1.png", "p1/1.png"])
def test_two_names_that_one_image_may_have(tmp_path, name):
    """An image gets the outlines of none of two that its file may be, unless one of the names is its own."""
    for one in ("data/1.png", "2.png"):
        image(tmp_path / one)
    named = [feature(image=one) for one in ("2.png", name, "p2/1.png")]
    put(tmp_path / "all.geojson", *named)
    data = open_dataset(tmp_path)
    assert data.names == ("2.png",)
    assert data.notes == (f"2 features name no image that is here, such as {name}, and are left out.",)
    put(tmp_path / "all.geojson", *named, feature(image="data/1.png"))
    assert [(one.name, len(one.objects)) for one in open_dataset(tmp_path)] == [("2.png", 1), ("data/1.png", 1)]


def test_features_that_name_no_image_at_all(tmp_path):
    """Where no feature reaches an image, the error says what they name."""
    image(tmp_path / "images" / "1.png")
    put(tmp_path / "all.geojson", feature(image="p1/1.png"), feature(image="p2/1.png"))
    with pytest.raises(DataError, match=r"2 features name no image that is here, such as p1/1\.png,"):
        open_dataset(tmp_path)


def test_map_coordinates(tmp_path):
    """On a GeoTIFF, map coordinates of its system and pixels give the same mask."""
    geotiff(tmp_path / "a.tif")
    geotiff(tmp_path / "b.tif")
    put(tmp_path / "a.geojson", feature(on_map(SQUARE)))
    put(tmp_path / "b.geojson", feature(SQUARE))
    first, second = open_dataset(tmp_path)
    assert first.objects == second.objects
    assert first.objects[0].box == (6, 5, 18, 15)


def test_coordinates_from_elsewhere(tmp_path):
    """Longitude and latitude on an image in metres are an error that says which system is needed."""
    geotiff(tmp_path / "a.tif")
    geotiff(tmp_path / "b.tif")
    put(tmp_path / "a.geojson", feature([[[-13.7, 45.1], [-13.8, 45.1], [-13.8, 45.2]]]))
    put(tmp_path / "b.geojson", feature(SQUARE))
    with pytest.raises(DataError, match="EPSG:32633"):
        assert open_dataset(tmp_path)[0]


@pytest.mark.parametrize("side", [0.00005, 0.1])
def test_degrees_are_no_pixels(tmp_path, side):
    """Longitudes and latitudes that are numbers of pixels, too, are not taken as such on an image in metres."""
    geotiff(tmp_path / "a.tif")
    geotiff(tmp_path / "b.tif")
    ring = [[13.7, 5.1], [13.7 + side, 5.1], [13.7 + side, 5.1 + side], [13.7, 5.1 + side], [13.7, 5.1]]
    put(tmp_path / "a.geojson", feature([ring]))
    put(tmp_path / "b.geojson", feature([[[6.5, 5.5], [18.5, 5.5], [18.5, 15.5], [6.5, 5.5]]]))
    with pytest.raises(DataError, match=r"longitude and latitude.*EPSG:32633"):
        assert open_dataset(tmp_path)[0]
    assert open_dataset(tmp_path)[1].objects[0].area > 40


def test_one_map_that_lies_elsewhere(tmp_path):
    """Features for all images in another system are an error about the system, not about empty masks."""
    geotiff(tmp_path / "a.tif")
    put(tmp_path / "all.geojson", feature([[[13.7, 5.1], [13.8, 5.1], [13.8, 5.2], [13.7, 5.1]]]))
    with pytest.raises(DataError, match="no image's piece of the map"):
        open_dataset(tmp_path)


def test_one_map_over_several_tiles(tmp_path):
    """Features that name no image go to the tiles they lie on, cut at their borders."""
    geotiff(tmp_path / "west.tif")
    geotiff(tmp_path / "east.tif", west=400_015.0)
    geotiff(tmp_path / "far.tif", west=500_000.0)
    across = [[[20, 5], [40, 5], [40, 15], [20, 15]]]
    put(tmp_path / "map.geojson", feature(on_map(across), label="road"), feature(on_map([[[90, 5], [95, 5], [95, 9]]])))
    data = open_dataset(tmp_path)
    areas = {one.name: [mask.area for mask in one.objects] for one in data}
    assert areas == {"west.tif": [100], "east.tif": [100], "far.tif": []}
    assert data.notes == ("1 features lie on no image's piece of the map and are left out.",)


@pytest.mark.parametrize("coordinates", [[], [[]]])
def test_a_polygon_without_coordinates(tmp_path, coordinates):
    """It encloses nothing: alone on a map its image has no object, and beside others it changes nothing."""
    geotiff(tmp_path / "a.tif")
    geotiff(tmp_path / "b.tif")
    put(tmp_path / "a.geojson", feature(coordinates), feature([coordinates], kind="MultiPolygon"))
    put(tmp_path / "b.geojson", feature(coordinates), feature(on_map([*SQUARE])))
    assert [len(one.objects) for one in open_dataset(tmp_path)] == [0, 1]
    assert open_dataset(tmp_path)[1].objects[0].area == 120


def test_broken_file(tmp_path):
    """A file that is no GeoJSON is an error that names it; the other images stay usable."""
    for name in "ab":
        image(tmp_path / f"{name}.png")
    put(tmp_path / "a.geojson", feature())
    (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": [{"geom')
    data = open_dataset(tmp_path)
    assert data[0].objects
    with pytest.raises(DataError, match=r"b\.geojson"):
        assert data[1]


@pytest.mark.parametrize(
    "coordinates", [[["x", "y"]], [[[0, 1], [None, 2], [3, 4]]], [[[0, 1], [float("nan"), 2], [3, 4]]]]
)
def test_coordinates_that_are_no_numbers(tmp_path, coordinates):
    """Coordinates that are no finite numbers are an error that names the file."""
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    put(tmp_path / "a.geojson", feature(coordinates))
    put(tmp_path / "b.geojson", feature())
    with pytest.raises(DataError, match=r"a\.geojson"):
        assert open_dataset(tmp_path)[0]


def test_there_and_back():
    """Pixels to map and back is the identity, for a turned and sheared grid too."""
    reference = Georeference((0.5, 0.1, 400_000.0, -0.2, -0.6, 5_000_000.0), 32633, ())
    points = np.random.default_rng(0).random((20, 2)) * 1000
    np.testing.assert_allclose(reference.to_pixels(reference.to_map(points)), points, atol=1e-6)
    np.testing.assert_allclose(reference.to_map(np.array([2.0, 3.0])), [400_001.3, 4_999_997.8])
