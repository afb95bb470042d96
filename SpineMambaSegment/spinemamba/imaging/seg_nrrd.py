"""Label images as ``.seg.nrrd``, in which Slicer keeps names, colours, codes and tags."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.common.atomic_files import check_spelling
from spinemamba.common.errors import UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.imaging.formats.image_file import read_file
from spinemamba.imaging.read import labels_in
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import save, to_image, write_image

SEGMENT_FIELDS = ("ID", "Name", "LabelValue", "Layer", "Tags")
FIELD = re.compile(r"Segment(?:ation_|\d+_)")
OFFSET = "Segmentation_ReferenceImageExtentOffset"
MOST_FILLED_VOXELS = 1 << 30
"""Up to here the segmented image is filled; a header may state anything."""

NAMED = re.compile(rb"Segment\d+_Name:?=")
EXTENT = re.compile(r"Reference image geometry\|(?:[^;|]*;){16}((?:-?\d+;){5}-?\d+)")
"""After the 16 numbers of a matrix: first and last voxel along x, y, z."""


@dataclass(frozen=True)
class Segment:
    """One segment of a file.

    Attributes:
        segment_id: Its ID.
        name: Name shown to people.
        value: What its voxels have in its layer.
        layer: Number of the layer; segments that overlap are in different ones.
        tags: All of its tags.
        number: That of its fields in the header, as in Segment3_Name.
    """

    segment_id: str
    name: str
    value: int
    layer: int
    tags: Mapping[str, str]
    number: int = 0


@dataclass(frozen=True)
class SegmentationFile:
    """A ``.seg.nrrd``, also one that Slicer saved after review.

    Attributes:
        layers: Label images on one grid.
        segments: In the order that Slicer shows.
        image_xyz: First and last voxel of the segmented image along x, y and z, counted from the
            first voxel of the layers, which hold at least that image.
        header: The fields of its segments, as stored.
    """

    layers: tuple[Volume, ...]
    segments: tuple[Segment, ...]
    image_xyz: tuple[tuple[int, int], ...]
    header: Mapping[str, str] = field(default_factory=dict)


@enough_memory()
def read_segmentation(path: Path) -> SegmentationFile:
    """Read a segmentation.

    Slicer may save only the part of the image that has segments; the rest is filled with zeros.

    Raises:
        UserError: If the file is missing, damaged or holds no segments; if there is too little
            memory (OOM_HOST).
    """
    check_spelling(path)
    if not path.is_file():
        raise UserError(f"Input not found: {path}.", "Check the path.")
    image = read_file(path)
    meta = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    count = image.GetNumberOfComponentsPerPixel()
    images = (
        [image]
        if count == 1
        else [sitk.VectorIndexSelectionCast(image, layer) for layer in range(count)]
    )
    layers = tuple(labels_in(one, path.name) for one in images)
    segments = _segments(meta, count, path.name)
    if not segments:
        raise UserError(f"{path.name} holds no segments.", "Choose a segmentation of a spine.")
    kept = {key: text for key, text in meta.items() if FIELD.match(key)}
    extent = _image_extent(meta, layers[0].geometry.shape)
    return _in_whole_image(SegmentationFile(layers, segments, extent, kept))


def names_segments(path: Path) -> bool:
    """Return whether a file is an NRRD file whose header names segments, whatever its suffix."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"NRRD":
                return False
            # An empty line ends the header.
            lines = itertools.takewhile(lambda line: line.strip(), file)
            return any(NAMED.match(line) for line in lines)
    except OSError:  # a folder, or what the reader itself refuses
        return False


def write_labels(labels: Volume, path: Path, segments: Sequence[SegmentInfo]) -> None:
    """Write a label image; the format follows from the name.

    Args:
        labels: Label values, uint8.
        path: ``.seg.nrrd`` carries the segments' details; other formats only the values.
        segments: Details of the segments, from head to tail.

    Raises:
        UserError: If the file cannot be written; then none is left.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        write_image(labels, path)
        return
    image = to_image(labels)
    for key, value in header(labels.array, segments).items():
        image.SetMetaData(key, value)
    save(image, path)


def header(array: np.ndarray, segments: Sequence[SegmentInfo]) -> dict[str, str]:
    """Return the fields that Slicer's segmentation storage node reads.

    Slicer documentation, "Segmentation file format (.seg.nrrd)".

    Args:
        array: Label values, (z, y, x).
        segments: Details of the segments, in the order that Slicer shall show.
    """
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        OFFSET: "0 0 0",
    }
    boxes = ndimage.find_objects(array)
    for k, segment in enumerate(segments):
        box = boxes[segment.value - 1] if segment.value <= len(boxes) else None
        of = segment_fields(segment, box)
        fields |= {f"Segment{k}_{name}": text for name, text in of.items()}
    return fields


def segment_fields(
    segment: SegmentInfo, box: tuple[slice, slice, slice] | None, layer: int = 0
) -> dict[str, str]:
    """Return the fields of one segment, without its number.

    Args:
        segment: Its details.
        box: The voxels around it; None if it is empty.
        layer: Number of its layer.
    """
    tags = {"TerminologyEntry": segment.terminology, **segment.tags}
    return {
        "ID": segment.segment_id,
        "Name": segment.name,
        "NameAutoGenerated": "0",
        "Color": " ".join(f"{c / 255:.6f}" for c in segment.color),
        "ColorAutoGenerated": "0",
        "Extent": extent_field(box),
        "Layer": str(layer),
        "LabelValue": str(segment.value),
        "Tags": "".join(f"{name}:{_clean(text)}|" for name, text in tags.items()),
    }


def fields_by_segment(header: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """Return the fields of each segment of a file, by its number and the field's name."""
    out: dict[int, dict[str, str]] = {}
    for key, text in header.items():
        if found := re.fullmatch(r"Segment(\d+)_(.+)", key):
            out.setdefault(int(found[1]), {})[found[2]] = text
    return dict(sorted(out.items()))


def write_layers(
    layers: Sequence[Volume],
    path: Path,
    general: Mapping[str, str],
    segments: Sequence[Mapping[str, str]],
) -> None:
    """Write a segmentation whose segments may overlap.

    Args:
        layers: Label values on one grid.
        path: An NRRD file.
        general: Fields of the file; those of single segments are passed over.
        segments: Fields of each segment, in the order that Slicer shall show.

    Raises:
        UserError: If the file cannot be written; then none is left.
    """
    images = [to_image(layer) for layer in layers]
    image = images[0] if len(images) == 1 else sitk.Compose(images)
    for key, text in general.items():
        if not re.match(r"Segment\d", key):
            image.SetMetaData(key, text)
    for k, fields in enumerate(segments):
        for name, text in fields.items():
            image.SetMetaData(f"Segment{k}_{name}", text)
    save(image, path)


def _segments(meta: Mapping[str, str], layers: int, file: str) -> tuple[Segment, ...]:
    keys = (re.fullmatch(r"Segment(\d+)_(?:ID|Name)", key) for key in meta)
    numbers = sorted({int(found[1]) for found in keys if found})
    found = []
    for place, number in enumerate(numbers):
        of = {name: meta.get(f"Segment{number}_{name}", "") for name in SEGMENT_FIELDS}
        pairs = (tag.split(":", 1) for tag in of["Tags"].split("|") if ":" in tag)
        # Older versions of Slicer gave each segment a layer of its own, without these fields.
        alone = layers == len(numbers)
        value = _whole(of["LabelValue"], 1 if alone else None)
        layer = _whole(of["Layer"], place if alone else 0)
        if value is None or layer is None or value < 1 or not 0 <= layer < layers:
            raise UserError(
                f"{file} does not say which voxels are segment {of['Name'] or number}: label value "
                f"'{of['LabelValue']}', layer '{of['Layer']}' of {layers}.",
                "Save the segmentation again.",
            )
        name = of["Name"] or of["ID"]
        found.append(Segment(of["ID"] or name, name, value, layer, dict(pairs), number))
    return tuple(found)


def _whole(text: str, otherwise: int | None) -> int | None:
    """Return a number, another one for an empty text, None if it is none."""
    try:
        return int(text) if text.strip() else otherwise
    except ValueError:
        return None


def _image_extent(
    meta: Mapping[str, str], shape: tuple[int, int, int]
) -> tuple[tuple[int, int], ...]:
    """Return first and last voxel of the segmented image along x, y, z, from those of the file."""
    known = EXTENT.search(meta.get("Segmentation_ConversionParameters", ""))
    if known is None:
        return tuple((0, length - 1) for length in shape[::-1])
    ends = [int(end) for end in known[1].split(";")]
    offset = [int(n) for n in meta.get(OFFSET, "0 0 0").split()]
    return tuple((ends[2 * a] - offset[a], ends[2 * a + 1] - offset[a]) for a in range(3))


def _in_whole_image(file: SegmentationFile) -> SegmentationFile:
    """Return layers that reach over the segmented image, with the fields that change thereby."""
    grid = file.layers[0].geometry
    before = [max(0, -first) for first, _ in file.image_xyz]
    behind = [
        max(0, last + 1 - n) for (_, last), n in zip(file.image_xyz, grid.shape[::-1], strict=True)
    ]
    pads = list(zip(before, behind, strict=True))[::-1]
    larger = [n + sum(pad) for n, pad in zip(grid.shape, pads, strict=True)]
    if larger == list(grid.shape) or math.prod(larger) > MOST_FILLED_VOXELS:
        return file
    origin = grid.to_lps_mm(-np.array(before[::-1], float))
    whole = replace(grid, shape=tuple(larger), origin_lps_mm=tuple(map(float, origin)))
    return SegmentationFile(
        tuple(Volume(np.pad(v.array, pads), whole, v.modality) for v in file.layers),
        file.segments,
        tuple((a + n, b + n) for (a, b), n in zip(file.image_xyz, before, strict=True)),
        {key: _moved(key, text, before) for key, text in file.header.items()},
    )


def _moved(key: str, text: str, by_xyz: Sequence[int]) -> str:
    """Return a field that counts voxels, for layers that begin so many voxels earlier."""
    try:
        if key == OFFSET:
            pairs = zip(map(int, text.split()), by_xyz, strict=True)
            return " ".join(str(old - n) for old, n in pairs)
        if re.fullmatch(r"Segment\d+_Extent", key):
            twice = [n for n in by_xyz for _ in range(2)]
            return " ".join(str(int(old) + n) for old, n in zip(text.split(), twice, strict=True))
    except ValueError:  # readers take such a field for none
        return text
    return text


def extent_field(box: tuple[slice, slice, slice] | None) -> str:
    """Return first and last voxel along x, y, z; an empty segment has last before first."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{s.start} {s.stop - 1}" for s in box[::-1])


def _clean(text: str) -> str:
    """Return text without the character that ends a tag."""
    return text.replace("|", "/")
