"""Tags of a DICOM file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from spinemamba.common.errors import UserError

IMAGE_TYPE, SOP_CLASS, MODALITY = "0008|0008", "0008|0016", "0008|0060"
IMAGER_SPACING, NOMINAL_SPACING = "0018|1164", "0018|2010"
SERIES_UID, SERIES_NUMBER = "0020|000e", "0020|0011"
POSITION, ORIENTATION, FRAME_UID = "0020|0032", "0020|0037", "0020|0052"
SAMPLES, PHOTOMETRIC, FRAMES = "0028|0002", "0028|0004", "0028|0008"
ROWS, COLUMNS, PIXEL_SPACING = "0028|0010", "0028|0011", "0028|0030"
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, SIGNED = "0028|0100", "0028|0101", "0028|0102", "0028|0103"
PADDING, PADDING_LIMIT = "0028|0120", "0028|0121"
INTERCEPT, SLOPE = "0028|1052", "0028|1053"

READABLE = ("CT", "MR", "OT")
"""Modalities of volumes; OT is written by converters."""

ENHANCED = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame Secondary Capture",
}
"""SOP classes that may keep their geometry in sequences, which SimpleITK does not return."""


@dataclass(frozen=True)
class Header:
    """Header of a DICOM file with an image.

    Attributes:
        path: The file.
        tags: Text of each tag outside of sequences, such as "0028|0010".
    """

    path: Path
    tags: Mapping[str, str]

    def text(self, tag: str) -> str:
        """Return the text of a tag without padding; empty if it is absent."""
        # Some writers pad with NUL, which no value representation of text allows.
        return self.tags.get(tag, "").replace("\0", " ").strip()

    def numbers(self, tag: str) -> tuple[float, ...]:
        """Return the numbers of a tag; empty if it is absent or not numeric."""
        try:
            values = tuple(float(part) for part in self.text(tag).split("\\"))
        except ValueError:
            return ()
        return values if all(map(math.isfinite, values)) else ()

    def number(self, tag: str, default: float) -> float:
        """Return the single number of a tag, else the default."""
        values = self.numbers(tag)
        return values[0] if len(values) == 1 else default

    @property
    def frames(self) -> int:
        """Number of frames in the file."""
        return int(self.number(FRAMES, 1))

    @property
    def modality(self) -> str:
        """DICOM modality, "OT" if absent."""
        return self.text(MODALITY).upper() or "OT"

    @property
    def is_localizer(self) -> bool:
        """Whether it is a localizer (scout), which does not belong to a stack."""
        return "LOCALIZER" in self.text(IMAGE_TYPE).upper()

    @property
    def is_image(self) -> bool:
        """Whether it is a slice of a volume."""
        return self.modality in READABLE and not self.is_localizer

    @property
    def is_multi_frame(self) -> bool:
        """Whether its geometry is stored per frame."""
        in_sequences = self.text(SOP_CLASS) in ENHANCED and not self.text(POSITION)
        return self.frames > 1 or in_sequences


def read_headers(folder: Path) -> list[Header]:
    """Return the headers of all DICOM images in a folder, sorted by file name.

    Raises:
        UserError: If the folder cannot be read.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read: {error.strerror}.",
            "Ask for permission to read it, or copy it to a folder of your own.",
        ) from error
    return [header for header in map(read_header, files) if header is not None]


def read_header(path: Path) -> Header | None:
    """Return the header of a DICOM image, or None if the file is not one."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.LoadPrivateTagsOff()
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return Header(path, {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()})
