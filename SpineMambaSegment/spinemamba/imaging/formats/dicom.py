"""Find and read a DICOM series.

SimpleITK reads tags and pixels. The geometry is computed here from the tags, because GDCM's
interpretation depends on the SOP class, and it substitutes defaults for missing values.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import SimpleITK as sitk

from spinemamba.common.atomic_files import check_spelling
from spinemamba.common.error_reports import is_no_memory, no_host_memory
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.imaging.formats.dicom_header import (
    BITS_ALLOCATED,
    BITS_STORED,
    FRAME_UID,
    HIGH_BIT,
    INTERCEPT,
    MODALITY,
    SERIES_NUMBER,
    SERIES_UID,
    SIGNED,
    SLOPE,
    Header,
    read_headers,
)
from spinemamba.imaging.formats.dicom_padding import fill_padding
from spinemamba.imaging.formats.dicom_stack import Stack, make_stack
from spinemamba.imaging.formats.mr_sequence import SEQUENCE, sequence_name

STORED_AS = (SLOPE, INTERCEPT, SIGNED, BITS_ALLOCATED, BITS_STORED, HIGH_BIT)
"""If these tags differ, the pixel type of the first slice may be too small for other slices."""

DAMAGE_WORDS = ("corrupt jpeg", "stream too short")
"""Printed by pixel decoders that continue after an error."""

MOST_LISTED = 6


def read_series(path: Path, warn: Warn) -> sitk.Image:
    """Read the largest image series of a folder.

    Args:
        path: Folder, or a file of the series.
        warn: Called with a warning if other series, localizers or damaged files are skipped.

    Returns:
        The image, with slices sorted by position. The metadata key "0008|0060" holds the modality,
        `SEQUENCE` the name of an MR sequence.

    Raises:
        UserError: If there is no CT or MR series, a slice has no position, orientation or pixel
            spacing, or the slices do not form a regular grid (INPUT_BAD); if memory is too small
            (OOM_HOST).
    """
    stack = find_stack(path, warn)
    array = sitk.GetArrayViewFromImage(image := _pixels(stack))
    filled = fill_padding(array, stack)
    if filled is not array:
        image = sitk.GetImageFromArray(filled)
    geometry = stack.geometry
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_lps_mm)
    image.SetDirection(geometry.direction_lps.ravel().tolist())
    image.SetMetaData(MODALITY, stack.modality)
    image.SetMetaData(FRAME_UID, stack.frame_uid)
    image.SetMetaData(SEQUENCE, sequence_name(stack.slices[0]))
    return image


def series_files(path: Path, warn: Warn) -> list[str]:
    """Return the files of a series, sorted by slice position. Arguments as for `read_series`."""
    return find_stack(path, warn).files


def find_stack(path: Path, warn: Warn) -> Stack:
    """Return the slices that `read_series` reads, without their pixels."""
    check_spelling(path)
    folder = path if path.is_dir() else path.parent
    with _quiet():
        headers = read_headers(folder)
    return make_stack(_choose_series(folder, path if path.is_file() else None, headers, warn))


def _choose_series(
    folder: Path, file: Path | None, headers: Sequence[Header], warn: Warn
) -> list[Header]:
    """Return the slices of the largest series, or of the series that contains a file."""
    series: dict[str, list[Header]] = {}
    for header in headers:
        series.setdefault(header.text(SERIES_UID), []).append(header)
    candidates = [
        files
        for files in series.values()
        if file is None or file.name in (header.path.name for header in files)
    ]
    images = [files for files in candidates if any(header.is_image for header in files)]
    if not images:
        unreadable = len(_unreadable(folder, headers))
        more = f", {unreadable} files without a readable image" if unreadable else ""
        raise UserError(
            f"No CT or MR series found in {folder} ({len(candidates)} other series{more}).",
            "Choose the folder that holds the slices of one series.",
        )
    images.sort(key=_rank)
    chosen = [header for header in images[0] if header.is_image]
    _warn_unreadable(folder, headers, warn)
    if len(images) > 1:
        _warn_several(images, warn)
    if others := len(images[0]) - len(chosen):
        warn(
            f"{others} of the {len(images[0])} files of the series are localizers or not images "
            "and were skipped."
        )
    return chosen


def _rank(files: Sequence[Header]) -> tuple[bool, int, float, str]:
    """Return the sort key of a series: readable first, then the largest, then by number."""
    slices = [header for header in files if header.is_image]
    readable = not any(header.is_multi_frame for header in slices) and len(slices) > 1
    number = files[0].number(SERIES_NUMBER, float("inf"))
    return not readable, -_count(files), number, files[0].text(SERIES_UID)


def _count(files: Sequence[Header]) -> int:
    return sum(max(1, header.frames) for header in files if header.is_image)


def _warn_several(images: Sequence[Sequence[Header]], warn: Warn) -> None:
    """Warn about several series in the folder."""
    listed = "; ".join(map(_described, images[:MOST_LISTED]))
    more = f"; {len(images) - MOST_LISTED} more" if len(images) > MOST_LISTED else ""
    equal = _rank(images[0])[:2] == _rank(images[1])[:2]
    which = "They are equally large, and the first" if equal else "The first"
    warn(
        f"The folder holds {len(images)} series: {listed}{more}. {which} is used; to use another, "
        "give one of its files instead of the folder."
    )


def _described(files: Sequence[Header]) -> str:
    """Describe a series without data of the patient."""
    first = next(header for header in files if header.is_image)
    number = first.text(SERIES_NUMBER)
    name = f"number {number}" if number.lstrip("-").isdigit() else "without number"
    return f"{name} ({first.modality}, {_count(files)} slices, such as {first.path.name})"


def _warn_unreadable(folder: Path, headers: Sequence[Header], warn: Warn) -> None:
    """Warn about files without an image: a damaged slice at an end of the stack leaves no gap."""
    unreadable, total = len(_unreadable(folder, headers)), len(_dicom_names(folder))
    if unreadable:
        warn(
            f"{unreadable} of {total} .dcm files in the folder have no readable image and were "
            "skipped."
        )


def _unreadable(folder: Path, headers: Sequence[Header]) -> set[str]:
    return _dicom_names(folder).difference(header.path.name for header in headers)


def _dicom_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix.lower() == ".dcm"}


def _pixels(stack: Stack) -> sitk.Image:
    """Return the rescaled values, without geometry."""
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames(stack.files)
    if any(len({header.text(tag) for header in stack.slices}) > 1 for tag in STORED_AS):
        reader.SetOutputPixelType(sitk.sitkFloat32)
    error: RuntimeError | MemoryError | None = None
    with _quiet() as printed:
        try:
            image = reader.Execute()
        except (RuntimeError, MemoryError) as caught:
            error = caught
    if error is not None and is_no_memory(error):
        raise no_host_memory() from error
    damaged = any(word in text for word in DAMAGE_WORDS for text in printed)
    if error is not None or damaged or image.GetSize() != stack.geometry.shape[::-1]:
        raise UserError(
            f"The DICOM series of {len(stack.slices)} slices cannot be read: a slice is damaged, "
            "or its number of pixels differs from its header.",
            "Export the series again.",
        ) from error
    return image


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Redirect the standard error of C++ libraries.

    Yields:
        A list that holds the lines in lower case after the block.
    """
    lines: list[str] = []
    with ExitStack() as stack:
        # Without standard error or a temporary folder, nothing is redirected.
        with suppress(OSError):
            file = stack.enter_context(tempfile.TemporaryFile())
            saved_stderr = os.dup(2)
            stack.callback(_read_back, file, saved_stderr, lines)
            os.dup2(file.fileno(), 2)
        yield lines


def _read_back(file: BinaryIO, saved_stderr: int, lines: list[str]) -> None:
    """Restore standard error, and append the redirected lines."""
    os.dup2(saved_stderr, 2)
    os.close(saved_stderr)
    file.seek(0)
    lines += file.read().decode(errors="replace").lower().splitlines()
