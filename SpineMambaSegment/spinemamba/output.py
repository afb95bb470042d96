"""Write images whole or not at all."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.errors import Code, UserError
from spinemamba.files import check_spelling, whole_or_nothing
from spinemamba.memory import enough_memory
from spinemamba.volume import Volume

LABEL_FORMATS = (".seg.nrrd", ".nii.gz", ".nrrd", ".mha")


def check_output(path: Path) -> None:
    """Refuse an output that could not be written, before hours of work.

    Raises:
        UserError: If the folder is missing or cannot be written to, or the format is unknown
            (OUTPUT_BAD).
    """
    if not path.name.lower().endswith(LABEL_FORMATS):
        raise UserError(
            f"Cannot write {path.name}: unknown format.",
            f"Let the name end in one of {', '.join(LABEL_FORMATS)}.",
            Code.OUTPUT_BAD,
        )
    check_place(path)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there.

    Raises:
        UserError: If that is not possible (OUTPUT_BAD).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot make the folder {folder}: {error.strerror}.",
            "Choose another one.",
            Code.OUTPUT_BAD,
        ) from error


def check_place(path: Path) -> None:
    """Refuse a file that could not be written where it shall go.

    Raises:
        UserError: If it is a folder, or its folder is missing or cannot be written (OUTPUT_BAD).
    """
    check_spelling(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(
            f"The output folder does not exist: {folder}.", "Create it first.", Code.OUTPUT_BAD
        )
    try:
        if path.is_dir():
            raise IsADirectoryError
        # What the file system says of permissions is not always so; trying is.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write to {path}.", "Choose a folder that you may write to.", Code.OUTPUT_BAD
        ) from error


def to_image(volume: Volume) -> sitk.Image:
    """Return a SimpleITK image with the volume's geometry."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_lps_mm)
    image.SetDirection(np.asarray(volume.geometry.direction_lps, float).ravel().tolist())
    return image


def write_image(volume: Volume, path: Path) -> None:
    """Write an image, compressed; the format follows from the name.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    save(to_image(volume), path)


def save(image: sitk.Image, path: Path) -> None:
    """Write a SimpleITK image with whatever its header holds; errors as `write_image`."""
    with whole_or_nothing(path) as partial:
        try:
            with enough_memory():
                sitk.WriteImage(image, str(partial), useCompression=True)
                # ITK is silent when a disk fills up; only reading back tells.
                back = sitk.GetArrayFromImage(sitk.ReadImage(str(partial)))
                whole = np.array_equal(back, sitk.GetArrayViewFromImage(image))
        except RuntimeError:
            whole = False
        if not whole:
            raise OSError(errno.ENOSPC, "the disk is full or the folder is read-only")
