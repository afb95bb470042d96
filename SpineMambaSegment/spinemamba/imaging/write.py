"""Write images whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.common.atomic_files import check_place, ending, failed_write_error, whole_or_nothing
from spinemamba.common.error_reports import is_no_memory, no_host_memory
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.formats.image_file import quiet_library
from spinemamba.imaging.volume import Volume

LABEL_FORMATS = (".seg.nrrd", ".nii.gz", ".nrrd", ".mha")


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Refuse an image that could not be written, or not be read again, before hours of work.

    Args:
        path: Image to write later.
        overwrite: Whether it may be there already.

    Raises:
        UserError: If the format is unknown, or the name can only be written (OUTPUT_BAD); as
            `check_place`.
    """
    if ending(path) not in LABEL_FORMATS:
        raise UserError(
            f"Cannot write {path.name}: unknown format.",
            f"Let the name end in one of {', '.join(LABEL_FORMATS)}.",
            Code.OUTPUT_BAD,
        )
    _check_case(path)
    try:
        library_name(path.absolute())
    except UnicodeDecodeError:
        raise UserError(
            f"Cannot write {path}: the path is not valid UTF-8, which image libraries need.",
            "Rename the folder, or choose another name.",
            Code.OUTPUT_BAD,
        ) from None
    check_place(path, overwrite=overwrite)


def _check_case(path: Path) -> None:
    """Refuse endings that ITK, and so Slicer, does not take for an image when it reads them."""
    canonical = ending(path)
    written = path.name[len(path.name) - len(canonical) :]
    read = {".mha": (".mha",), ".nii.gz": (".nii.gz", ".NII.GZ")}
    # NRRD files are recognised by what they hold.
    if written not in read.get(canonical, (written,)):
        raise UserError(
            f"Cannot write {path.name}: programs that use ITK do not read the ending {written}.",
            f"Write {canonical} in lower case.",
            Code.OUTPUT_BAD,
        )


def library_name(path: Path) -> str:
    """Return a path as ITK takes it, which is UTF-8 whatever the locale says.

    Raises:
        UnicodeDecodeError: If the path has bytes that are no UTF-8: ITK would end the process.
    """
    return os.fsencode(path).decode("utf-8")


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
    """Write a SimpleITK image with whatever its header holds.

    Raises:
        UserError: As `whole_or_nothing`; if there is too little memory (OOM_HOST).
    """
    with whole_or_nothing(path) as partial:
        name, said = library_name(partial), "what was written reads back different"
        try:
            with quiet_library():
                sitk.WriteImage(image, name, useCompression=True)
                # ITK is silent when a disk fills up; only reading back tells.
                back = sitk.GetArrayFromImage(sitk.ReadImage(name))
            whole = np.array_equal(back, sitk.GetArrayViewFromImage(image))
        except RuntimeError as error:
            if is_no_memory(error):
                raise no_host_memory() from error
            whole, said = False, "the image library failed"
        if not whole:
            raise failed_write_error(partial, said)
