"""DICOM segmentations (SEG): which frame marks which segment on which image, and writing one (DICOM PS3.3, A.51)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.data.formats.dicom_image import (
    Header,
    as_position,
    functional_group,
    import_pydicom,
    new_dataset,
    read_dataset,
    read_pixels,
    save_dataset,
)
from segtune.data.images import UnreadableError

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True)
class SegmentFrame:
    """One frame of a segmentation.

    Attributes:
        frame: its number in the file, from 0.
        segment: number of the segment it marks.
        label: the segment's label.
        image: SOP instance UID of the image it lies on, "" where it says only the position.
        image_frame: number of that image's frame, from 0.
        position: where it lies in the patient, or None.
    """

    frame: int
    segment: int
    label: str
    image: str
    image_frame: int
    position: tuple[float, ...] | None


@dataclass(frozen=True)
class Segmentation:
    """What a segmentation file says: its frames, the images it covers by SOP instance UID, and their series."""

    frames: tuple[SegmentFrame, ...]
    images: frozenset[str]
    series: frozenset[str]


def read_segmentation(path: Path) -> Segmentation:
    """Return what a segmentation marks and on which images; no pixels are read.

    Raises:
        UnreadableError: it is no segmentation that can be read.
    """
    data = read_dataset(path)
    try:
        labels = {int(one.SegmentNumber): str(one.SegmentLabel) for one in data.SegmentSequence}
        frames = tuple(_frame(data, number, labels) for number in range(len(data.PerFrameFunctionalGroupsSequence)))
        covered = data.get("ReferencedSeriesSequence") or []
        images = {str(one.ReferencedSOPInstanceUID) for each in covered
                  for one in each.get("ReferencedInstanceSequence") or []}  # fmt: skip
        series = frozenset(str(one.SeriesInstanceUID) for one in covered)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UnreadableError(path, f"it is no complete segmentation ({error})", "Export it again.") from error
    return Segmentation(frames, frozenset(images | {one.image for one in frames} - {""}), series)


def read_segment(path: Path, frame: int) -> BoolMask:
    """Return a frame of a segmentation as bool [H, W]; of shares of a pixel, those from a half.

    Raises:
        UnreadableError: it cannot be decoded.
    """
    data = _with_pixels(path)
    if int(data.get("BitsAllocated") or 8) == 1 and not data.file_meta.TransferSyntaxUID.is_compressed:
        return _unpack(path, data.PixelData, frame, int(data.Rows), int(data.Columns))
    full = int(data.get("MaximumFractionalValue") or 1)
    values = np.asarray(read_pixels(path, frame), dtype=np.int64)
    # Shares are stored as whole numbers up to `full`.
    return values * 2 >= full if full > 1 else values != 0


@lru_cache(maxsize=1)
def _with_pixels(path: Path) -> Any:
    """Return a segmentation's data set; the one last read is kept, for its other frames."""
    return read_dataset(path, pixels=True)


def _unpack(path: Path, packed: bytes, frame: int, rows: int, columns: int) -> BoolMask:
    """Return a frame of one bit per pixel; frames follow each other without filling up a byte (PS3.5, 8.1.1)."""
    first, last = frame * rows * columns, (frame + 1) * rows * columns
    held = np.frombuffer(packed[first // 8 : -(-last // 8)], dtype=np.uint8)
    # The first pixel is the lowest bit.
    bits = np.unpackbits(held, bitorder="little")[first % 8 :][: last - first]
    if bits.size < last - first:
        raise UnreadableError(path, f"it ends before frame {frame}", "Export it again.")
    return bits.astype(np.bool_).reshape(rows, columns)


def save_segmentation(path: Path, image: Header, masks: Sequence[npt.NDArray[np.bool_]], labels: Sequence[str]) -> None:
    """Write masks of one image, one or more, as a binary segmentation with a segment each."""
    pydicom = import_pydicom()
    uid = pydicom.uid.generate_uid(entropy_srcs=[image.uid, "segmentation"])
    # A UID has at most 64 characters (PS3.5, 9.1).
    data = new_dataset(replace(image, uid=uid, series=f"{uid}.1"[:64], modality="SEG"), _SEGMENTATION)
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.ContentLabel, data.ContentDescription, data.ContentCreatorName = "SEGMENTATION", "", ""
    # Not the clock's: the same samples give the same bytes.
    data.ContentDate, data.ContentTime = "20000101", "000000"
    data.Manufacturer = data.ManufacturerModelName = data.DeviceSerialNumber = data.SoftwareVersions = "segtune"
    data.SegmentationType, data.SegmentsOverlap, data.LossyImageCompression = "BINARY", "YES", "00"
    data.Rows, data.Columns = image.size
    data.NumberOfFrames = len(masks)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 1, 0, 0
    data.SegmentSequence = [_segment(number, label) for number, label in enumerate(labels, start=1)]
    data.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=image.series, ReferencedInstanceSequence=[_reference(image)])
    ]
    data.PerFrameFunctionalGroupsSequence = [_group(number, image) for number in range(1, len(masks) + 1)]
    # Padded to an even number of bytes, which every element must have (PS3.5, 7.1.1).
    data.PixelData = pydicom.pixels.pack_bits(np.stack(masks).astype(np.uint8), pad=True)
    save_dataset(path, data)


def _frame(data: Any, number: int, labels: dict[int, str]) -> SegmentFrame:
    segment = int(functional_group(data, number, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    derivation = functional_group(data, number, "DerivationImageSequence")
    sources = (derivation.get("SourceImageSequence") if derivation is not None else None) or []
    position = functional_group(data, number, "PlanePositionSequence")
    image, image_frame = "", 0
    # Of several source images none is the one that the frame lies on: its position must tell.
    if len(sources) == 1:
        image = str(sources[0].ReferencedSOPInstanceUID)
        image_frame = int(np.atleast_1d(sources[0].get("ReferencedFrameNumber") or 1)[0]) - 1  # DICOM counts from 1
    place = as_position(position.get("ImagePositionPatient")) if position is not None else None
    return SegmentFrame(number, segment, labels[segment], image, image_frame, place)


def _segment(number: int, label: str) -> Any:
    tissue = _item(CodeValue="85756007", CodingSchemeDesignator="SCT", CodeMeaning="Tissue")
    return _item(
        SegmentNumber=number, SegmentLabel=label, SegmentAlgorithmType="MANUAL",
        SegmentedPropertyCategoryCodeSequence=[tissue], SegmentedPropertyTypeCodeSequence=[tissue],
    )  # fmt: skip


def _group(segment: int, image: Header) -> Any:
    return _item(
        SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=segment)],
        DerivationImageSequence=[_item(SourceImageSequence=[_reference(image)])],
    )


def _reference(image: Header) -> Any:
    return _item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.7", ReferencedSOPInstanceUID=image.uid)


def _item(**elements: Any) -> Any:
    item = import_pydicom().dataset.Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item
