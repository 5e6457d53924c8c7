"""Duplicates: the same scene is found however it was stored, and different pictures are left alone."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.duplicates import are_alike, duplicates_of, find_alike, match
from segtune.data.fingerprints import Fingerprints, digest, fingerprint, fingerprints


def scene(seed, height=240, width=320):
    """A textured picture: smooth clouds, a few discs and lines, fine grain."""
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.random((6, 8, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.ascontiguousarray(np.clip(60 + 120 * clouds, 0, 255).astype(np.uint8))
    for _ in range(24):
        centre = int(rng.integers(width)), int(rng.integers(height))
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        cv2.circle(picture, centre, int(rng.integers(4, 26)), colour, -1)
    for _ in range(8):
        ends = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
        cv2.line(picture, *ends, (20, 20, 20), 2)
    grain = rng.normal(0, 4, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def scope(seed):
    """A frame of a scope: another scene each time, always in the same dark rim with the same words."""
    picture = cv2.GaussianBlur(scene(seed), (0, 0), 5)
    rim = np.zeros(picture.shape[:2], np.uint8)
    cv2.circle(rim, (160, 120), 118, 1, -1)
    picture *= rim[..., None]
    cv2.putText(picture, "Name: 01/02", (4, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
    cv2.rectangle(picture, (0, 180), (60, 239), (0, 0, 0), -1)
    return picture


def jpeg(picture, quality):
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(file))


CHANGES = {
    "compressed": lambda picture: jpeg(picture, 20),
    "halved": lambda picture: cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA),
    "brighter": lambda picture: np.clip(picture.astype(int) + 35, 0, 255).astype(np.uint8),
    "fainter": lambda picture: (picture * 0.5 + 40).astype(np.uint8),
    "grey": lambda picture: np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "cropped": lambda picture: np.ascontiguousarray(picture[12:222, 18:300]),
    "cropped on one side": lambda picture: np.ascontiguousarray(picture[:180]),
    "cropped, lit and compressed": lambda picture: jpeg(
        np.clip(picture[8:210, 20:] * 1.15 + 10, 0, 255).astype(np.uint8), 30
    ),
}


def dataset(pictures):
    return Dataset.of(
        Sample(name, picture.shape[:2], (), (), read=lambda picture=picture: picture)
        for name, picture in pictures.items()
    )


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_scene_is_found_again(change):
    """Among other scenes, each changed picture is matched with its original and with nothing else."""
    originals = {f"{seed}": scene(seed) for seed in range(12)}
    changed = {f"{seed}": CHANGES[change](scene(seed)) for seed in range(12, 4, -1)}
    changed.pop("12")
    found = match(fingerprints(dataset(originals)), fingerprints(dataset(changed)))
    assert sorted((first, second) for first, second, _ in found) == [(name, name) for name in sorted(changed)]


def test_frames_of_one_scope_are_not_alike():
    """A shared rim and shared words do not make pictures alike."""
    assert find_alike(dataset({f"{seed}": scope(seed) for seed in range(40)})).pairs == ()


def test_a_frame_and_its_crop_among_frames_of_one_scope():
    """A true pair is found among pictures that share their rim."""
    frames = {f"{seed}": scope(seed) for seed in range(20)}
    frames["again"] = np.ascontiguousarray(scope(7)[14:230, 20:310])
    assert find_alike(dataset(frames)).near == (("7", "again"),)


def test_a_mirrored_picture_is_another():
    """Mirrored pictures are not alike: a left and a right eye are two."""
    assert not are_alike(fingerprint(scene(3)), fingerprint(np.ascontiguousarray(scene(3)[:, ::-1])))


def test_same_pixels_are_exact():
    """Equal pixels make an exact pair whatever the file, and no near one."""
    found = find_alike(dataset({"a": scene(1), "b": scene(2), "c": scene(1).copy()}))
    assert found.exact == (("a", "c"),)
    assert found.near == ()
    assert found.pairs[0].likeness == 1.0


def test_stored_again_is_exact_and_relit_is_near():
    """A light compression is the same picture, a change one can see is the same scene."""
    found = find_alike(dataset({"a": scene(1), "b": jpeg(scene(1), 92), "c": CHANGES["cropped"](scene(1))}))
    assert found.exact == (("a", "b"),)
    assert found.near == (("a", "b", "c"),)
    assert found.groups == (("a", "b", "c"),)


def test_chains_join():
    """Of three pictures in a row all belong together when each is like the next."""
    found = find_alike(dataset({"whole": scene(5), "left": scene(5)[:, :250], "small": scene(5)[20:, :240]}))
    assert found.groups == (("left", "small", "whole"),)


def test_many_equal_images_make_one_group():
    """Thirty copies are one group and hide no other pair."""
    pictures = {f"copy {number:02d}": scene(1) for number in range(30)}
    pictures |= {"original": scene(2), "crop": CHANGES["cropped"](scene(2))}
    found = find_alike(dataset(pictures))
    assert [len(group) for group in found.exact] == [30]
    assert found.near == (("crop", "original"),)


def test_flat_images_are_alike_only_when_equal():
    """Black and grey frames show nothing to compare: only equal ones are duplicates."""
    black, grey = np.zeros((50, 60, 3), np.uint8), np.full((50, 60, 3), 90, np.uint8)
    noisy = np.random.default_rng(0).integers(0, 6, (50, 60, 3)).astype(np.uint8)
    found = find_alike(dataset({"a": black, "b": black.copy(), "c": grey, "d": noisy}))
    assert found.groups == (("a", "b"),)


def test_order_does_not_matter():
    """Both orders of the images give the same groups."""
    pictures = {"a": scene(1), "b": CHANGES["cropped"](scene(1)), "c": scene(2), "d": CHANGES["halved"](scene(2))}
    forward, backward = find_alike(dataset(pictures)), find_alike(dataset(dict(reversed(pictures.items()))))
    assert forward.groups == backward.groups == (("a", "b"), ("c", "d"))


def test_kinds_across_data_sets():
    """Matches across two sets say whether it is the same picture or the same scene."""
    reference = fingerprints(dataset({"train": scene(1), "other": scene(9)}))
    fresh = fingerprints(dataset({"copy": scene(1), "crop": CHANGES["cropped"](scene(1)), "new": scene(4)}))
    assert match(reference, fresh) == [("train", "copy", "exact"), ("train", "crop", "near")]


def test_every_copy_is_reported_across_data_sets():
    """Of several equal images on either side each has its own match, so that all can be left out."""
    reference = fingerprints(dataset({"a": scene(1), "b": scene(1)}))
    fresh = fingerprints(dataset({"x": scene(1), "y": scene(1)}))
    assert {second for _, second, _ in match(reference, fresh)} == {"x", "y"}


def test_few_images_are_enough():
    """Two images are compared as well as two thousand."""
    first, second = fingerprint(scene(1)), fingerprint(CHANGES["cropped on one side"](scene(1)))
    assert are_alike(first, second)
    assert are_alike(second, first)
    assert not are_alike(first, fingerprint(scene(2)))


def test_no_images():
    """Empty sets are compared without fuss."""
    nothing = Fingerprints.gather([])
    assert duplicates_of(nothing).pairs == ()
    assert match(nothing, fingerprints(dataset({"a": scene(1)}))) == []


def test_stored_and_read_back(tmp_path):
    """Fingerprints survive their file, names of any script included."""
    prints = fingerprints(dataset({"Bild ü/1.png": scene(1), "图.png": scene(2)}))
    prints.write(tmp_path / "fingerprints.safetensors")
    back = Fingerprints.read(tmp_path / "fingerprints.safetensors")
    assert back.names == prints.names
    assert back.digests == prints.digests
    assert np.array_equal(back.pictures[:], prints.pictures[:])


@pytest.mark.parametrize("content", [b"", b"no tensors here", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_foreign_file_is_refused(tmp_path, content):
    """What is no file of fingerprints is named in the error."""
    path = tmp_path / "fingerprints.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"fingerprints\.safetensors cannot be read"):
        Fingerprints.read(path)


def test_subset_keeps_the_order_asked_for():
    """A subset follows the names given and passes over those it does not have."""
    prints = fingerprints(dataset({"a": scene(1), "b": scene(2), "c": scene(3)}))
    part = prints.subset(["c", "unknown", "a"])
    assert part.names == ("c", "a")
    assert np.array_equal(part.pictures[0], prints.pictures[2])


def test_digest_depends_on_size_and_pixels():
    """Equal bytes in another shape are another picture."""
    picture = scene(1, 20, 30)
    assert digest(picture) == digest(picture.copy())
    assert digest(picture) != digest(picture.reshape(30, 20, 3))


def test_progress_is_told():
    """Somebody who asks hears of each image."""
    heard = []

    class Listener:
        def stage(self, name, total=None):
            from contextlib import contextmanager

            @contextmanager
            def opened():
                yield lambda n=1, note="": heard.append((name, total, n))

            return opened()

    find_alike(dataset({"a": scene(1), "b": scene(2)}), Listener())
    assert heard[:2] == [("looking at images", 2, 1)] * 2


@pytest.mark.parametrize(("down", "across"), [(0, 1), (3, 0), (2, 5)])
def test_candidates_are_looked_for_among_cosine_waves(down, across):
    """A picture that is one cosine wave has that one coefficient and no other."""
    from segtune.data.likeness import _spans, _Waves

    places = (np.arange(64) + 0.5) / 64 * np.pi
    wave = np.outer(np.cos(down * places), np.cos(across * places))
    picture = np.rint(127.5 + 100 * wave).astype(np.uint8)
    plain = _Waves(np.zeros(1, np.float32), np.ones(1, np.float32))
    found = np.abs(plain.raw(picture[None], _spans()[:1])[0, 0, 0])
    assert found.argmax() == down * 8 + across - 1
    assert np.sort(found)[-2] < 0.05 * found.max()
