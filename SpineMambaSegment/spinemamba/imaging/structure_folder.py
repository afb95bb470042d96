"""Read a folder with one mask per structure, as TotalSegmentator writes by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spinemamba.anatomy.terminology import level_named
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.seg_nrrd import Segment, SegmentationFile
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.image_formats import LABEL_FORMATS


def is_structure_folder(path: Path) -> bool:
    """Return whether a path is a folder with at least one mask whose file name is a level."""
    try:
        return path.is_dir() and any(level_named(stem) for stem in _masks(path))
    except OSError:
        return False


def read_structure_folder(path: Path) -> SegmentationFile:
    """Read the masks whose file names are levels, such as ``vertebrae_L1.nii.gz``.

    Masks of other structures are not read. Empty masks, which TotalSegmentator writes for levels
    outside of the image, are skipped. Overlapping masks are in different layers.

    Raises:
        UserError: If a mask cannot be read, or masks have different grids.
    """
    masks = {stem: file for stem, file in sorted(_masks(path).items()) if level_named(stem)}
    layers: list[Volume] = []
    segments: list[Segment] = []
    for stem, file in masks.items():
        mask = read_labels(file)
        inside = mask.array != 0
        if not inside.any():
            continue
        if layers and (difference := layers[0].geometry.difference(mask.geometry)):
            raise UserError(
                f"{file.name} has another grid than the other masks: {difference}.",
                "Give a folder whose masks belong to one image.",
            )
        value = len(segments) + 1
        layer = next((k for k, v in enumerate(layers) if not v.array[inside].any()), len(layers))
        if layer == len(layers):
            empty = np.zeros(mask.array.shape, np.uint8)
            layers.append((layers[0] if layers else mask).with_array(empty))
        layers[layer].array[inside] = value
        segments.append(Segment(stem, stem, value, layer, {}, len(segments)))
    if not segments:
        raise UserError(
            f"All masks of vertebrae in {path.name} are empty.", "Choose masks of a spine."
        )
    extent = tuple((0, length - 1) for length in layers[0].geometry.shape[::-1])
    return SegmentationFile(tuple(layers), tuple(segments), extent, {})


def _masks(path: Path) -> dict[str, Path]:
    """Return the label images of a folder by the stem of their names."""
    found = {}
    for file in path.iterdir():
        lower = file.name.lower()
        ending = next((end for end in (*LABEL_FORMATS, ".nii") if lower.endswith(end)), None)
        if ending is not None:
            found[file.name[: len(file.name) - len(ending)]] = file
    return found
