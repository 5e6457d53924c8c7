"""SA-1B's layout: a file of masks beside each image."""

import json

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths
from segtune.data.dataset import open_dataset
from segtune.data.formats.coco_rle import compress


@pytest.fixture
def folder(tmp_path):
    """Two photographs as SA-1B stores them: masks within masks, no class, the tool's own figures beside them."""
    for number in (1, 2):
        write_image(tmp_path, f"sa_{number}")
        write_masks(tmp_path, f"sa_{number}", [box(2, 2, 20, 20), box(5, 5, 9, 9), box(25, 3, 30, 8)][: 1 + number])
    return tmp_path


def box(x0, y0, x1, y1):
    mask = np.zeros((24, 40), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write_image(folder, name, size=(24, 40)):
    pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(folder / f"{name}.jpg")


def write_masks(folder, name, masks, **image):
    height, width = masks[0].shape
    annotations = [
        {
            "bbox": [0, 0, 1, 1],
            "area": int(mask.sum()),
            "segmentation": {"size": [height, width], "counts": compress(RunLengths.encode(mask).counts)},
            "predicted_iou": 0.95,
            "point_coords": [[3.0, 3.0]],
            "crop_box": [0, 0, width, height],
            "id": place,
            "stability_score": 0.97,
        }
        for place, mask in enumerate(masks)
    ]
    image = {"image_id": 1, "license": 1, "file_name": f"{name}.jpg", "height": height, "width": width} | image
    (folder / f"{name}.json").write_text(json.dumps({"image": image, "annotations": annotations}))


def test_each_image_has_the_masks_of_its_file(folder):
    """Masks come back to the pixel, nested ones each for itself; COCO leaves such files alone."""
    data = open_dataset(folder)
    assert data.format == "sa1b"
    assert data.names == ("sa_1.jpg", "sa_2.jpg")
    assert [len(sample.objects) for sample in data] == [2, 3]
    assert np.array_equal(data[1].masks()[1], box(5, 5, 9, 9))
    assert set(data[1].labels) == {"object"}


def test_files_are_read_when_their_image_is(folder):
    """A file broken after the set was opened costs its image alone, and says so; opening reads none of them."""
    (folder / "sa_2.json").write_text('{"image": {}, "annotations": [{"segmentation": 7}]}')
    data = open_dataset(folder)
    assert len(data[0].objects) == 2
    with pytest.raises(DataError, match=r"sa_2\.json cannot be read as masks of SA-1B"):
        data[1]


def test_masks_of_another_size_are_refused(folder):
    """Run lengths for other pixels than the image has are named with both sizes."""
    write_image(folder, "sa_2", size=(12, 40))
    with pytest.raises(DataError, match="40 × 24 pixels, the image has 40 × 12"):
        open_dataset(folder)[1]


def test_what_stands_alone_is_set_aside(folder):
    """An image without masks and masks without an image are told, not lost."""
    write_image(folder, "sa_3")
    write_masks(folder, "sa_4", [box(1, 1, 5, 5)])
    data = open_dataset(folder)
    assert [one.name for one in data.set_aside] == ["sa_3.jpg", "sa_4.json"]
    assert len(data) == 2


def test_a_stray_json_hides_nothing(folder):
    """A file of figures that sorts before those of masks is set aside, beside an image or not."""
    for name in ("info", "about/sa_1"):
        (folder / "about").mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text('{"name": "mine", "year": 2024}')
    write_image(folder, "about/sa_1")
    data = open_dataset(folder)
    assert (data.format, len(data)) == ("sa1b", 3)
    assert [one.name for one in data.set_aside] == ["info.json"]


def test_folders_of_folders(folder, tmp_path):
    """The published archives are folders of their own: names meet within one folder only."""
    for number in (1, 2):
        place = tmp_path / "many" / f"sa_00000{number}"
        place.mkdir(parents=True)
        write_image(place, "sa_7")
        write_masks(place, "sa_7", [box(1, 1, 4 + number, 4 + number)])
    data = open_dataset(tmp_path / "many")
    assert [int(sample.objects[0].area) for sample in data] == [16, 25]
