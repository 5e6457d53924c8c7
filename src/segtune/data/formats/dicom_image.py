"""One DICOM image file: its header, a frame as people see it, and writing one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import MissingExtraError
from segtune.core.files import replacing
from segtune.core.types import Image
from segtune.data.formats.window import Window, show_window, window_of
from segtune.data.images import PIXEL_LIMIT, UnreadableError, hold_to_limit
from segtune.data.masks import MaskFile, whole_numbers

_SUFFIXES = (".dcm", ".dicom", ".ima")
SEGMENTATION = "SEG"
"""The modality of a DICOM segmentation."""

_MAGIC_AT = 128  # bytes of preamble (PS3.10, 7.1)
_HEADER_TAGS = (
    "Modality", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Rows", "Columns",
    "NumberOfFrames", "ImagePositionPatient",
)  # fmt: skip
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # SOP class UID (PS3.4, B.5)


class NoImageError(UnreadableError):
    """A DICOM file of something else, such as a report or a plan."""


@dataclass(frozen=True)
class Header:
    """What a DICOM file says about its image.

    Attributes:
        uid: its SOP instance UID.
        series: UID of its series.
        study: UID of its study.
        patient: the patient's id, "" where it was taken out.
        modality: "CT", "SEG", …
        size: (height, width).
        frames: number of frames.
        position: where the first pixel lies in the patient, in mm, or None.
    """

    uid: str
    series: str
    study: str
    patient: str
    modality: str
    size: tuple[int, int]
    frames: int = 1
    position: tuple[float, ...] | None = None


def is_dicom_name(name: str) -> bool:
    """Whether a file may be DICOM by its name: .dcm, or, as scanners write them, no extension or one of digits."""
    stem, dot, suffix = name.lower().rpartition(".")
    # DICOMDIR is an index of files, in DICOM itself.
    return name != "DICOMDIR" and (f".{suffix}" in _SUFFIXES or not dot or not stem or suffix.isdecimal())


def has_dicom_magic(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(4) == b"DICM"


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM: by an extension that says so; one whose name says nothing, by its first bytes."""
    if not is_dicom_name(path.name) or path.suffix.lower() in _SUFFIXES:
        return is_dicom_name(path.name)
    try:
        return path.is_file() and has_dicom_magic(path)
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """Return what a file says about its image.

    Raises:
        NoImageError: it holds none.
        UnreadableError: it is no DICOM file.
        MissingExtraError: pydicom is not installed.
    """
    data = read_dataset(path, _HEADER_TAGS)
    size = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
    if 0 in size:
        raise NoImageError(path, "it holds no image", "Leave it out, or export the image.")
    return Header(
        uid=str(data.get("SOPInstanceUID", "")),
        series=str(data.get("SeriesInstanceUID", "")),
        study=str(data.get("StudyInstanceUID", "")),
        patient=str(data.get("PatientID") or ""),
        modality=str(data.get("Modality", "")),
        size=size,
        frames=int(data.get("NumberOfFrames") or 1),
        position=as_position(data.get("ImagePositionPatient")),
    )


def as_position(value: Sequence[Any] | None) -> tuple[float, ...] | None:
    """Return a position x, y, z in the patient, or None where there is none."""
    return tuple(float(one) for one in value) if value is not None and np.size(value) == 3 else None


def functional_group(data: Any, frame: int, name: str) -> Any:
    """Return a functional group of a frame (PS3.3, C.7.6.16): its own, or that of all frames, or None."""
    own, shared = (data.get(f"{whose}FunctionalGroupsSequence") or () for whose in ("PerFrame", "Shared"))
    for groups, place in ((own, frame), (shared, 0)):
        items = groups[place].get(name) if place < len(groups) else None
        if items:
            return items[0]
    return None


def read_dataset(path: Path, tags: Sequence[str] | None = None, *, pixels: bool = False) -> Any:
    """Return a file's data set, all of it or the elements named, with `pixels` its stored ones too.

    Raises:
        UnreadableError: it is no DICOM file.
        MissingExtraError: pydicom is not installed.
    """
    pydicom = import_pydicom()
    try:
        wanted = None if tags is None else list(tags)
        return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=wanted)
    except (pydicom.errors.InvalidDicomError, *_BROKEN) as error:
        raise UnreadableError(path, f"it is no DICOM file that can be read ({error})", "Export it again.") from error


def size_of_dicom(path: Path, pixel_limit: int = PIXEL_LIMIT) -> tuple[int, int]:
    """Return (height, width) of an image of one frame.

    Raises:
        UnreadableError: it cannot be read, is too large or has several frames, which mask files cannot be told for.
    """
    header = read_header(path)
    if header.frames > 1:
        reason = f"it has {header.frames} frames, which one mask file cannot be for"
        raise UnreadableError(path, reason, "Give its masks as a DICOM segmentation.")
    hold_to_limit(path, header.size, pixel_limit)
    return header.size


def read_frame(path: Path, _limit: int = PIXEL_LIMIT, frame: int = 0, window: Window | None = None) -> Image:
    """Return a frame as RGB uint8 [H, W, 3].

    Raises:
        UnreadableError: its pixels cannot be decoded.
    """
    data = read_dataset(path)
    values = read_pixels(path, frame)
    if values.ndim == 3:
        return _bytes_of(values[..., :3])
    pixels = import_pydicom().pixels
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _bytes_of(np.asarray(pixels.apply_color_lut(values, data)))
    # A window is in the units behind the modality's transform: Hounsfield's, not those stored (PS3.3, C.11.2).
    # Where frames have settings of their own, those of the file are absent.
    rescale = functional_group(data, frame, "PixelValueTransformationSequence") or data
    voi = functional_group(data, frame, "FrameVOILUTSequence") or data
    grey = _shown(np.asarray(pixels.apply_modality_lut(values, rescale)), voi, window)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_mask_values(path: Path, _colours: bool = False, _limit: int = PIXEL_LIMIT) -> MaskFile:
    """Return the stored values of a mask that is a DICOM image.

    Raises:
        UnreadableError: its pixels cannot be decoded.
    """
    values = read_pixels(path, 0)
    return MaskFile(whole_numbers(values if values.ndim == 2 else values.max(axis=2)), "grey")


def read_pixels(path: Path, frame: int) -> npt.NDArray[np.generic]:
    """Return the stored values of a frame, [H, W] or RGB [H, W, 3].

    Raises:
        UnreadableError: they cannot be decoded, for instance because a package for their compression is missing.
    """
    pydicom = import_pydicom()
    try:
        return np.asarray(pydicom.pixels.pixel_array(path, index=frame))
    except (pydicom.errors.InvalidDicomError, RuntimeError, NotImplementedError, *_BROKEN) as error:
        remedy = "Export it uncompressed, or install pylibjpeg or gdcm, which pydicom then uses."
        raise UnreadableError(path, f"its pixels cannot be decoded ({error})", remedy) from error


def save_image(path: Path, image: Image, header: Header) -> None:
    """Write an image as a secondary capture."""
    grey = bool((image[..., :1] == image).all())
    data = new_dataset(header, _SECONDARY_CAPTURE)
    data.ConversionType = "WSD"  # from a workstation
    pixels = np.ascontiguousarray(image[..., 0] if grey else image)
    # Segmentations refer to this UID: a fresh one would part them.
    data.set_pixel_data(pixels, "MONOCHROME2" if grey else "RGB", 8, generate_instance_uid=False)
    save_dataset(path, data)


def new_dataset(header: Header, kind: str) -> Any:
    """Return a data set of a class of objects (a SOP class UID) with what a header says, its pixels still missing."""
    pydicom = import_pydicom()
    data = pydicom.dataset.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    data.SOPClassUID, data.SOPInstanceUID = kind, header.uid
    data.StudyInstanceUID, data.SeriesInstanceUID = header.study, header.series
    data.PatientID, data.PatientName = header.patient, header.patient
    data.Modality = header.modality
    data.StudyDate = data.StudyTime = data.PatientBirthDate = data.PatientSex = ""
    data.StudyID = data.AccessionNumber = data.ReferringPhysicianName = ""
    data.SeriesNumber, data.InstanceNumber = 1, 1
    return data


def save_dataset(path: Path, data: Any) -> None:
    """Write a data set as a DICOM file."""
    with replacing(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)


def import_pydicom() -> ModuleType:
    """Return the module pydicom with its parts for pixels.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise MissingExtraError("pydicom", "data", "Reading DICOM") from error
    return pydicom


def _bytes_of(colour: npt.NDArray[Any]) -> Image:
    """Return colours as uint8: of 16 bits the high byte."""
    return np.ascontiguousarray(colour if colour.dtype == np.uint8 else colour >> 8, dtype=np.uint8)


def _shown(values: npt.NDArray[np.generic], data: Any, window: Window | None) -> npt.NDArray[np.uint8]:
    if window is None:
        # There may be several windows, an empty one, or a width of 0.
        centre, width = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
        window = (centre, width) if centre is not None and width else None
    if window is None and values.dtype == np.uint8:
        return values.astype(np.uint8)
    return show_window(values, window or window_of(values))


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)


_BROKEN = (OSError, ValueError, EOFError, AttributeError, KeyError, TypeError)
"""What pydicom is known to raise on broken files."""
