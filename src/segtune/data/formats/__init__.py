"""Data formats, each a module that detects, reads and writes one way images and masks lie on disk.

To add one, write `data/formats/<name>.py` with a `FORMAT` (`contract.DataFormat`) and a line below; another package
adds its own through the entry-point group `segtune.formats`. `tests/contracts/test_formats.py` then holds it to its
word: what it writes it must detect and read back unchanged, and a broken file must give an error that names it.
"""

from __future__ import annotations

from segtune.core.registry import Registry
from segtune.data.formats.contract import DataFormat

FORMATS: Registry[DataFormat] = Registry(
    "data format",
    {
        "mask_folder": "segtune.data.formats.mask_folder:FORMAT",
        "coco": "segtune.data.formats.coco:FORMAT",
        "sa1b": "segtune.data.formats.sa1b:FORMAT",
        "yolo": "segtune.data.formats.yolo:FORMAT",
        "geojson": "segtune.data.formats.geojson:FORMAT",
        "geotiff": "segtune.data.formats.geotiff:FORMAT",
        "nifti": "segtune.data.formats.nifti:FORMAT",
        "dicom": "segtune.data.formats.dicom:FORMAT",
    },
    group="segtune.formats",
)
