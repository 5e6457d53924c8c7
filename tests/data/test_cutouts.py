"""Cut-outs: pictures on a transparent ground, read, recoloured, laid onto images and held by drawn scenes."""

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.cutouts import Cutouts, lay_out, read_cutout, recolour
from segtune.data.drawn import drawn_dataset
from segtune.data.scenes import draw_scene
from segtune.data.shapes import turn


def save(folder, name, *, size=(40, 60), box=(10, 5, 30, 50), colour=(200, 100, 50), alpha=255):
    """Write a picture that is transparent but for a box of (top, left, bottom, right)."""
    pixels = np.zeros((*size, 4), np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = (*colour, alpha)
    folder.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.fixture
def folder(tmp_path):
    """Two cut-outs, and a picture that shows no thing."""
    save(tmp_path / "cut", "a.png")
    save(tmp_path / "cut", "b.webp", box=(0, 0, 20, 20), colour=(10, 240, 10))
    save(tmp_path / "cut", "opaque.png", box=(0, 0, 40, 60))
    return tmp_path / "cut"


def test_a_picture_is_cropped_to_what_it_shows(tmp_path):
    """Colours come multiplied by the alpha; the empty rim is gone; a large one is reduced; one of nothing is empty."""
    picture = read_cutout(save(tmp_path, "half.png", alpha=204))
    assert picture.shape == (20, 45, 4)
    assert np.allclose(picture[0, 0], np.array([200 * 0.8, 100 * 0.8, 50 * 0.8, 204]) / 255)
    assert read_cutout(save(tmp_path, "large.png", size=(900, 900), box=(100, 100, 612, 356))).shape == (256, 128, 4)
    assert read_cutout(save(tmp_path, "nothing.png", alpha=90)).shape == (0, 0, 4)


def test_laid_out_it_lies_where_and_as_large_as_asked(tmp_path):
    """At the scale of its own pixels it is itself; elsewhere its middle and extent are those of the pose."""
    picture = read_cutout(save(tmp_path, "a.png"))
    patch, surface = lay_out(picture, turn(0, 22.5), np.array([50.5, 30.0]), (80, 100))
    rows, columns = np.nonzero(patch.cover > 0.5)
    assert (rows.min() + patch.window[0].start, rows.max() + patch.window[0].start) == (20, 39)
    assert (columns.min() + patch.window[1].start, columns.max() + patch.window[1].start) == (28, 72)
    assert np.allclose(surface[:, rows, columns].T * 255, (200, 100, 50), atol=0.5)
    # A quarter turn at a quarter of the size: 45 x 20 pixels become 5 x 11.25.
    patch, _ = lay_out(picture, turn(np.pi / 2, 5.625), np.array([50.0, 30.0]), (80, 100))
    assert patch.cover.sum() == pytest.approx(45 * 20 / 16, rel=0.1)
    rows, columns = (np.flatnonzero((patch.cover > 0.3).any(axis=axis)) for axis in (1, 0))
    assert len(rows) > 2 * len(columns) - 2
    assert rows.mean() + patch.window[0].start + 0.5 == pytest.approx(30, abs=0.6)


def test_what_lies_outside_is_left_out(tmp_path):
    """Half beyond the rim it is cropped, wholly beyond there is none."""
    picture = read_cutout(save(tmp_path, "a.png"))
    patch, surface = lay_out(picture, turn(0, 22.5), np.array([0.0, 30.0]), (80, 100))
    assert patch.window[1].start == 0
    assert surface.shape[1:] == patch.shape
    assert 0.4 < patch.cover.sum() / (45 * 20) < 0.6
    assert lay_out(picture, turn(0, 22.5), np.array([-60.0, 30.0]), (80, 100)) is None


def test_other_colours_keep_the_outline(tmp_path):
    """The alpha stays, and no colour is brighter than the alpha allows."""
    picture = read_cutout(save(tmp_path, "a.png"))
    seen = []
    for seed in range(16):
        changed = recolour(picture, np.random.default_rng(seed))
        assert (changed[..., 3] == picture[..., 3]).all()
        assert (changed[..., :3] >= 0).all()
        assert (changed[..., :3] <= changed[..., 3:]).all()
        seen.append(changed[10, 20, :3])
    assert np.std(seen, axis=0).min() > 0.02


def test_scenes_hold_them_and_stay_the_same(folder):
    """A seed gives the same bytes; some things are cut-outs, others are not; without a folder nothing changes."""
    cutouts = Cutouts.open(folder, 0.5)
    assert cutouts.names == ("a.png", "b.webp")
    first = [draw_scene(seed, side=128, cutouts=cutouts) for seed in range(12)]
    for seed, one in enumerate(first):
        again = draw_scene(seed, side=128, cutouts=cutouts)
        assert (again.image == one.image).all()
        assert again.objects == one.objects
    labels = [label for one in first for label in one.labels]
    assert 0.1 < labels.count("cutout") / len(labels) < 0.9
    assert not any("cutout" in draw_scene(seed, side=128).labels for seed in range(12))


def test_what_is_annotated_is_what_is_seen(folder):
    """In a scene of cut-outs alone the masks are of their colours' edges: inside and outside differ."""
    cutouts = Cutouts.open(folder, 1.0)
    contrasts = []
    for seed in range(16):
        scene = draw_scene(seed, side=128, cutouts=cutouts)
        image = scene.image.astype(float).mean(axis=2)
        for label, mask in zip(scene.labels, scene.objects, strict=True):
            inside = mask.decode()
            if label == "cutout" and inside.sum() > 200:
                spread = image[inside].std() + 1
                contrasts.append(abs(image[inside].mean() - image[~inside].mean()) / spread)
    assert len(contrasts) > 10
    assert np.median(contrasts) > 1


def test_embeddings_know_which_pictures_there_were(folder):
    """The hash of a scene changes with the pictures, and with their share."""
    hashes = {drawn_dataset(1, side=64).image_hash(0)}
    hashes.add(drawn_dataset(1, side=64, cutouts=Cutouts.open(folder, 0.5)).image_hash(0))
    hashes.add(drawn_dataset(1, side=64, cutouts=Cutouts.open(folder, 0.6)).image_hash(0))
    save(folder, "c.png")
    hashes.add(drawn_dataset(1, side=64, cutouts=Cutouts.open(folder, 0.5)).image_hash(0))
    assert len(hashes) == 4


def test_a_folder_without_cut_outs_is_refused(tmp_path):
    """No folder, and images that are opaque all over: told in words."""
    with pytest.raises(DataError, match="is no folder"):
        Cutouts.open(tmp_path / "none", 0.5)
    save(tmp_path / "opaque", "a.png", box=(0, 0, 40, 60))
    with pytest.raises(DataError, match=r"of its 1 images none"):
        Cutouts.open(tmp_path / "opaque", 0.5)
    (tmp_path / "opaque" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(DataError, match=r"broken\.png cannot be used"):
        Cutouts.open(tmp_path / "opaque", 0.5)
