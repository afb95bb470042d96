"""Read and write ``.seg.nrrd``, Slicer's segmentation format with names, colours and tags.

slicerio is not used: it assumes a missing origin, reads no layers as SimpleITK writes them, and
does not write atomically.
"""

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
from spinemamba.imaging.read import labels_from_image
from spinemamba.imaging.volume import Box, Volume
from spinemamba.imaging.write import save, to_image, write_image

_SEGMENT_FIELDS = ("ID", "Name", "LabelValue", "Layer", "Tags")
_SEGMENTATION_FIELD = re.compile(r"Segment(?:ation_|\d+_)")
_EXTENT_OFFSET = "Segmentation_ReferenceImageExtentOffset"
_MOST_FILLED_VOXELS = 1 << 30
"""Limit of the size to which layers are padded, because a header may state anything."""

_NAME_LINE = re.compile(rb"Segment\d+_Name:?=")
_REFERENCE_EXTENT = re.compile(r"Reference image geometry\|(?:[^;|]*;){16}((?:-?\d+;){5}-?\d+)")
"""16 numbers of a matrix, then first and last voxel along x, y, z."""


@dataclass(frozen=True)
class Segment:
    """A segment of a file.

    Attributes:
        segment_id: ID.
        name: Display name.
        value: Label value in its layer.
        layer: Number of the layer; overlapping segments are in different layers.
        tags: All tags.
        number: Number in the names of its header fields, such as 3 in Segment3_Name.
    """

    segment_id: str
    name: str
    value: int
    layer: int
    tags: Mapping[str, str]
    number: int = 0


@dataclass(frozen=True)
class SegmentationFile:
    """Content of a ``.seg.nrrd``, written by this package or by Slicer.

    Attributes:
        layers: Label maps on one grid.
        segments: In the order that Slicer shows.
        image_xyz: First and last voxel of the segmented image along x, y and z, relative to the
            first voxel of the layers, which contain the image.
        header: Metadata fields of the segmentation, as stored.
    """

    layers: tuple[Volume, ...]
    segments: tuple[Segment, ...]
    image_xyz: tuple[tuple[int, int], ...]
    header: Mapping[str, str] = field(default_factory=dict)


@enough_memory()
def read_segmentation(path: Path) -> SegmentationFile:
    """Read a segmentation.

    Slicer may save only the part of the image that has segments; the layers are padded with zeros
    to the image.

    Raises:
        UserError: If the file is missing, damaged or has no segments; if memory is too small
            (OOM_HOST).
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
    layers = tuple(labels_from_image(one, path.name) for one in images)
    segments = _segments(meta, count, path.name)
    if not segments:
        raise UserError(f"{path.name} has no segments.", "Choose a segmentation of a spine.")
    fields = {key: text for key, text in meta.items() if _SEGMENTATION_FIELD.match(key)}
    extent = _image_extent(meta, layers[0].geometry.shape)
    return _padded_to_image(SegmentationFile(layers, segments, extent, fields))


def names_segments(path: Path) -> bool:
    """Return whether a file is an NRRD file whose header names segments, whatever its suffix."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"NRRD":
                return False
            # An empty line ends the header.
            lines = itertools.takewhile(lambda line: line.strip(), file)
            return any(_NAME_LINE.match(line) for line in lines)
    except OSError:  # a folder, or an error that the reader reports
        return False


def write_labels(labels: Volume, path: Path, segments: Sequence[SegmentInfo]) -> None:
    """Write a label map. The ending of the name selects the format.

    Args:
        labels: Label values, uint8.
        path: ``.seg.nrrd`` stores the metadata of the segments; other formats only the values.
        segments: Metadata of the segments, from cranial to caudal.

    Raises:
        UserError: If the file cannot be written; no partial file remains.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        write_image(labels, path)
        return
    image = to_image(labels)
    for key, value in metadata_fields(labels.array, segments).items():
        image.SetMetaData(key, value)
    save(image, path)


def metadata_fields(array: np.ndarray, segments: Sequence[SegmentInfo]) -> dict[str, str]:
    """Return the metadata fields that Slicer's segmentation storage node reads.

    See the Slicer documentation, "Segmentation file format (.seg.nrrd)".

    Args:
        array: Label values, (z, y, x).
        segments: Metadata of the segments, in display order.
    """
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        _EXTENT_OFFSET: "0 0 0",
    }
    boxes = ndimage.find_objects(array)
    for k, segment in enumerate(segments):
        box = boxes[segment.value - 1] if segment.value <= len(boxes) else None
        own_fields = segment_fields(segment, box)
        fields |= {f"Segment{k}_{name}": text for name, text in own_fields.items()}
    return fields


def segment_fields(segment: SegmentInfo, box: Box | None, layer: int = 0) -> dict[str, str]:
    """Return the fields of one segment, without the prefix ``Segment<number>_``.

    Args:
        segment: Metadata of the segment.
        box: Bounding box; None if the segment is empty.
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
    """Return the fields of each segment, by segment number and name of the field."""
    out: dict[int, dict[str, str]] = {}
    for key, text in header.items():
        if match := re.fullmatch(r"Segment(\d+)_(.+)", key):
            out.setdefault(int(match[1]), {})[match[2]] = text
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
        general: Fields of the file; fields of single segments are ignored.
        segments: Fields of each segment, in display order.

    Raises:
        UserError: If the file cannot be written; no partial file remains.
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
    matches = (re.fullmatch(r"Segment(\d+)_(?:ID|Name)", key) for key in meta)
    numbers = sorted({int(match[1]) for match in matches if match})
    segments = []
    for index, number in enumerate(numbers):
        fields = {name: meta.get(f"Segment{number}_{name}", "") for name in _SEGMENT_FIELDS}
        pairs = (tag.split(":", 1) for tag in fields["Tags"].split("|") if ":" in tag)
        # Older versions of Slicer wrote each segment in a separate layer, without these fields.
        one_per_layer = layers == len(numbers)
        value = _parse_int(fields["LabelValue"], 1 if one_per_layer else None)
        layer = _parse_int(fields["Layer"], index if one_per_layer else 0)
        if value is None or layer is None or value < 1 or not 0 <= layer < layers:
            raise UserError(
                f"{file} does not define the voxels of segment {fields['Name'] or number}: label "
                f"value '{fields['LabelValue']}', layer '{fields['Layer']}' of {layers}.",
                "Save the segmentation again.",
            )
        name = fields["Name"] or fields["ID"]
        segments.append(Segment(fields["ID"] or name, name, value, layer, dict(pairs), number))
    return tuple(segments)


def _parse_int(text: str, default: int | None) -> int | None:
    """Parse an integer. Return the default if the text is empty, None if it is not an integer."""
    try:
        return int(text) if text.strip() else default
    except ValueError:
        return None


def _image_extent(
    meta: Mapping[str, str], shape: tuple[int, int, int]
) -> tuple[tuple[int, int], ...]:
    """Return first and last voxel of the segmented image along x, y, z, relative to the file."""
    match = _REFERENCE_EXTENT.search(meta.get("Segmentation_ConversionParameters", ""))
    if match is None:
        return tuple((0, length - 1) for length in shape[::-1])
    ends = [int(end) for end in match[1].split(";")]
    offset = [int(n) for n in meta.get(_EXTENT_OFFSET, "0 0 0").split()]
    return tuple((ends[2 * a] - offset[a], ends[2 * a + 1] - offset[a]) for a in range(3))


def _padded_to_image(file: SegmentationFile) -> SegmentationFile:
    """Pad the layers to the segmented image, and adapt the fields that count voxels."""
    grid = file.layers[0].geometry
    before = [max(0, -first) for first, _ in file.image_xyz]
    after = [
        max(0, last + 1 - n) for (_, last), n in zip(file.image_xyz, grid.shape[::-1], strict=True)
    ]
    pads = list(zip(before, after, strict=True))[::-1]
    larger = [n + sum(pad) for n, pad in zip(grid.shape, pads, strict=True)]
    if larger == list(grid.shape) or math.prod(larger) > _MOST_FILLED_VOXELS:
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
    """Return a field for layers that are padded by some voxels in front."""
    try:
        if key == _EXTENT_OFFSET:
            pairs = zip(map(int, text.split()), by_xyz, strict=True)
            return " ".join(str(old - n) for old, n in pairs)
        if re.fullmatch(r"Segment\d+_Extent", key):
            twice = [n for n in by_xyz for _ in range(2)]
            return " ".join(str(int(old) + n) for old, n in zip(text.split(), twice, strict=True))
    except ValueError:  # readers ignore an invalid field
        return text
    return text


def extent_field(box: Box | None) -> str:
    """Return first and last voxel along x, y, z; "0 -1" for each axis if the segment is empty."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{s.start} {s.stop - 1}" for s in box[::-1])


def _clean(text: str) -> str:
    """Replace the character that ends a tag."""
    return text.replace("|", "/")
