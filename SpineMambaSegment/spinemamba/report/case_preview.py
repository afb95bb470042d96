"""Preview of a case for the triage page: pictures, and a small image with its vertebrae.

The preview is one file beside the labels, so that the page can be made without the image, and made
again after a review. Vertebrae have their numbers in result.json, which no renaming changes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread, imsave
from scipy import ndimage

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.scratch import scratch
from spinemamba.imaging.curved_planar import View
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.rib_view import RIB_WINDOW_HU, rib_view
from spinemamba.imaging.straighten import straighten
from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.protocol.result import Result
from spinemamba.report.thumbnail import colored

IMAGE, INSTANCES = "image.nii.gz", "instances.nii.gz"
STRIPS, RIBS, MARKS = "strips.jpg", "ribs.jpg", "marks.json"

_SPACINGS_MM = (1.5, 2.0, 2.5, 3.0, 4.0)
"""Voxel sizes from which the first is taken that leaves few voxels."""

_MOST_VOXELS = 1_500_000
_MARGIN_MM = 15.0
_WINDOW_HU = (-250.0, 1250.0)
_MR_WINDOW_PERCENT = (0.5, 99.5)
_RIB_PIXEL_MM = 1.2
_GAP = 6
"""Pixels between the two strips."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of all entries: equal contents give equal files."""


def write_preview(image: Volume, labels: Volume, result: Result, path: Path) -> None:
    """Write the preview of a case as a ZIP archive, atomically.

    Args:
        image: Segmented image.
        labels: Label values on the same grid.
        result: Result of the run.
        path: File to write.

    Raises:
        UserError: If the file cannot be written.
    """
    ids = {item.label: item.id for item in result.instances}
    with whole_or_nothing(path) as partial, scratch(path.absolute().parent) as hidden:
        contents = _volumes(image, labels, (result.modality, ids), hidden)
        marks: dict[str, Any] = {}
        for name, made in (
            (STRIPS, _strips(image, labels, result.modality, ids)),
            (RIBS, _ribs(image, labels, result.modality, ids)),
        ):
            if made is not None:
                contents[name], marks[name] = made
        contents[MARKS] = json.dumps(marks).encode()
        with zipfile.ZipFile(partial, "w") as archive:
            for name, data in contents.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def read_preview(path: Path) -> dict[str, bytes]:
    """Return the files of a preview by name; empty if there is none that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return {}


def small_jpeg(path: Path) -> bytes:
    """Return a PNG picture as JPEG."""
    return jpeg(imread(path)[..., :3])


def jpeg(pixels: np.ndarray) -> bytes:
    """Return RGB or grey values from 0 to 1, first row on top, as JPEG."""
    grey = (255 * np.clip(pixels, 0, 1) + 0.5).astype(np.uint8)
    with io.BytesIO() as file:
        imsave(file, grey, format="jpg", cmap="gray", vmin=0, vmax=255,
               pil_kwargs={"quality": 82})  # fmt: skip
        return file.getvalue()


def _volumes(
    image: Volume, labels: Volume, named: tuple[str, Mapping[int, int]], folder: Path
) -> dict[str, bytes]:
    """Return image and vertebrae, cropped to the spine, with 8 bits."""
    modality, ids = named
    image, labels = canonical(image)[0], canonical(labels)[0]
    grid = _grid(labels)
    values = resample_box(image.array, image.geometry, grid)
    low, high = _WINDOW_HU if modality == "ct" else np.percentile(values, _MR_WINDOW_PERCENT)
    small = np.clip((values - low) / max(float(high) - low, 1e-6), 0, 1)
    numbers = np.zeros(256, np.uint8)
    numbers[list(ids)] = list(ids.values())
    nearest = numbers[_nearest(labels, grid)]
    out = {}
    for name, array in ((IMAGE, (255 * small + 0.5).astype(np.uint8)), (INSTANCES, nearest)):
        write_image(Volume(array, grid, modality), folder / name)
        out[name] = (folder / name).read_bytes()
    return out


def _grid(labels: Volume) -> Geometry:
    """Return the grid of the preview: around the labels, with few voxels."""
    found = ndimage.find_objects((labels.array > 0).astype(np.uint8))
    box: Box = found[0] if found else tuple(slice(0, n) for n in labels.array.shape)
    margins = [int(np.ceil(_MARGIN_MM / s)) for s in labels.spacing_mm]
    box = tuple(
        slice(max(0, part.start - m), min(n, part.stop + m))
        for part, m, n in zip(box, margins, labels.array.shape, strict=True)
    )
    around = crop_geometry(labels.geometry, box)
    # Finer than the image would add nothing.
    grids = (
        grid_with_spacing(around, tuple(max(mm, s) for s in around.spacing_mm))
        for mm in _SPACINGS_MM
    )
    grid = next(grids)
    for coarser in grids:
        if np.prod(grid.shape) <= _MOST_VOXELS:
            break
        grid = coarser
    return grid


def _nearest(labels: Volume, grid: Geometry) -> np.ndarray:
    """Return the label values at the voxels of a grid with parallel axes."""
    first = labels.geometry.to_index_zyx(np.array(grid.origin_lps_mm))
    at = []
    for axis, count in enumerate(grid.shape):
        step = grid.spacing_mm[axis] / labels.spacing_mm[axis]
        index = np.rint(first[axis] + step * np.arange(count)).astype(int)
        at.append(np.clip(index, 0, labels.array.shape[axis] - 1))
    return labels.array[np.ix_(*at)]


def _strips(
    image: Volume, labels: Volume, modality: str, ids: Mapping[int, int]
) -> tuple[bytes, list[list[float]]] | None:
    """Return the straightened strips side by side, and where each vertebra is."""
    views = straighten(image, labels)
    if views is None or min(views[0].image.shape) < 2:
        return None
    gap = np.zeros((views[0].image.shape[0], _GAP, 3))
    pixels = np.hstack([colored(views[0], modality), gap, colored(views[1], modality)])
    return jpeg(pixels[::-1]), _places(views[0], ids, pixels.shape)


def _ribs(
    image: Volume, labels: Volume, modality: str, ids: Mapping[int, int]
) -> tuple[bytes, list[list[float]]] | None:
    """Return the rib view, and where each vertebra is; None for MR."""
    ribs = rib_view(image, labels, _RIB_PIXEL_MM) if modality == "ct" else None
    if ribs is None or min(ribs.view.image.shape) < 2:
        return None
    low, high = RIB_WINDOW_HU
    pixels = (ribs.view.image[::-1] - low) / (high - low)
    return jpeg(pixels), _places(ribs.view, ids, pixels.shape)


def _places(view: View, ids: Mapping[int, int], shape: tuple[int, ...]) -> list[list[float]]:
    """Return number, and place from the left and from the top as shares, of each vertebra."""
    rows, columns = shape[:2]
    return [
        [ids[value], round((column + 0.5) / columns, 4), round(1 - (row + 0.5) / rows, 4)]
        for value, (row, column) in view.bodies.items()
        if value in ids
    ]
