"""Check headers of images before their voxels arrive, and before a library opens them.

The readers of headers are our own and need numpy only.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from spinemamba.imaging.formats.image_header import ImageHeader
from spinemamba.imaging.formats.metaimage_header import read_metaimage_header
from spinemamba.imaging.formats.nifti_header import read_nifti_header
from spinemamba.imaging.formats.nrrd_header import read_nrrd_header
from spinemamba.imaging.formats.stored_voxels import (
    GZIP,
    RAW,
    ZLIB,
    StoredVoxels,
    UnreadableError,
)
from spinemamba.server.errors import RefusedError

HEADER_BYTES = 1 << 20
"""The header must end within so many bytes of the file."""

_MOST_SKIPPED_BYTES = 1 << 24
"""Between header and voxels. A larger offset in a compressed file costs time to inflate."""

_READERS: dict[str, Callable[[Path], ImageHeader]] = {
    ".nii.gz": read_nifti_header,
    ".nii": read_nifti_header,
    ".nrrd": read_nrrd_header,
    ".seg.nrrd": read_nrrd_header,
    ".mha": read_metaimage_header,
}
_PARSE_ERRORS = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
)
_EXPORT = "Export the image again, as compressed NRRD or NIfTI."


def check_image(path: Path, ending: str, most_voxels: int, *, is_labels: bool = False) -> int:
    """Check the header of an image, or of the first `HEADER_BYTES` of it.

    Args:
        path: The file.
        ending: Its format.
        most_voxels: Most numbers that the image may hold.
        is_labels: Whether it is a segmentation, which may have several layers.

    Returns:
        How many numbers it holds.

    Raises:
        RefusedError: If the header is not valid, the voxels are in another file or stored as text,
            it is not a 3-D scalar image (INPUT_BAD), or there are too many voxels (TOO_LARGE).
    """
    try:
        header = _READERS[ending](path)
    except UnreadableError as error:
        raise RefusedError("INPUT_BAD", f"The image cannot be read: {error}.", _EXPORT) from error
    except _PARSE_ERRORS as error:
        message = "The header of the image is damaged, or not of the type that its name states."
        raise RefusedError("INPUT_BAD", message, _EXPORT) from error
    _check_voxels(header.voxels, path, most_voxels)
    if not is_labels and (len(header.volume_sizes) != 3 or header.components != 1):
        message = "The image is not one 3-D grey-value volume, but a sequence, vectors or colours."
        raise RefusedError("INPUT_BAD", message, "Export one frame of a sequence as a volume.")
    return header.voxels.count


def _check_voxels(voxels: StoredVoxels, path: Path, most_voxels: int) -> None:
    """Check where the voxels are, and how many.

    Raises:
        RefusedError: As `check_image`.
    """
    if voxels.files != (path,):
        message = "The image consists of several files."
        raise RefusedError("INPUT_BAD", message, "Export it as one file.")
    if voxels.encoding not in (RAW, GZIP, ZLIB) or voxels.skip_lines:
        raise RefusedError("INPUT_BAD", "The voxels are stored as text.", _EXPORT)
    if voxels.skip_bytes > _MOST_SKIPPED_BYTES:
        raise RefusedError("INPUT_BAD", "The voxels begin too far behind the header.", _EXPORT)
    if voxels.count > most_voxels:
        raise RefusedError(
            "TOO_LARGE",
            f"The image holds more than {most_voxels} voxels, the most that this server takes.",
            "Crop the image to the spine, or ask the administrator for a higher limit.",
        )
