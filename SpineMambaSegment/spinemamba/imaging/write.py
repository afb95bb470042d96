"""Write images atomically and verify them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.common.atomic_files import check_place, ending, failed_write_error, whole_or_nothing
from spinemamba.common.error_reports import is_no_memory, no_host_memory
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.formats.image_file import quiet_library
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.image_formats import LABEL_FORMATS


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Check before a long run that an image can be written and read again.

    Args:
        path: Image to write later.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: If the format is unknown, or a file of that name could not be read again
            (OUTPUT_BAD); as `check_place`.
    """
    if ending(path) not in LABEL_FORMATS:
        raise UserError(
            f"Cannot write {path.name}: unknown format.",
            f"Use one of the endings {', '.join(LABEL_FORMATS)}.",
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
    """Refuse endings that ITK, and so Slicer, does not recognise when it reads a file."""
    canonical = ending(path)
    written = path.name[len(path.name) - len(canonical) :]
    read = {".mha": (".mha",), ".nii.gz": (".nii.gz", ".NII.GZ")}
    # NRRD files are recognised by their content.
    if written not in read.get(canonical, (written,)):
        raise UserError(
            f"Cannot write {path.name}: programs that use ITK do not read the ending {written}.",
            f"Write {canonical} in lower case.",
            Code.OUTPUT_BAD,
        )


def library_name(path: Path) -> str:
    """Return a path as ITK expects it: UTF-8, whatever the locale.

    Raises:
        UnicodeDecodeError: If the path is not valid UTF-8: ITK would end the process.
    """
    return os.fsencode(path).decode("utf-8")


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they do not exist.

    Raises:
        UserError: If a folder cannot be created (OUTPUT_BAD).
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


def write_image(volume: Volume, path: Path, tags: Mapping[str, str] | None = None) -> None:
    """Write an image, compressed. The ending of the name selects the format.

    Args:
        volume: The image.
        path: File to write.
        tags: Metadata, such as `read.tags_of`; only NRRD and MetaImage files keep it.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    image = to_image(volume)
    for key, value in (tags or {}).items():
        image.SetMetaData(key, value)
    save(image, path)


def save(image: sitk.Image, path: Path) -> None:
    """Write a SimpleITK image with its metadata.

    Raises:
        UserError: As `whole_or_nothing`; if memory is too small (OOM_HOST).
    """
    with whole_or_nothing(path) as partial:
        name, reason = library_name(partial), "the written file does not read back the same"
        try:
            with quiet_library():
                sitk.WriteImage(image, name, useCompression=True)
                # ITK reports no error when a disk fills up, so the file is read back.
                back = sitk.GetArrayFromImage(sitk.ReadImage(name))
            complete = np.array_equal(back, sitk.GetArrayViewFromImage(image))
        except RuntimeError as error:
            if is_no_memory(error):
                raise no_host_memory() from error
            complete, reason = False, "the image library failed"
        if not complete:
            raise failed_write_error(partial, reason)
