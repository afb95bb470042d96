"""Read label maps of a spine from any file, as the values of `labels.LABELS`.

All commands use this module. A file with named segments (``.seg.nrrd``, other NRRD files with such
fields, DICOM SEG, a folder with one mask per structure) is read by names and codes, because users
rename segments and other software uses other values. The values of a label map without names are
interpreted by `recognise_scheme`, unless the user states the numbering. Labels that are not levels
are skipped and reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinemamba.anatomy.label_schemes import OPTION, VERSE, Numbering
from spinemamba.anatomy.labels import BY_NAME, ORDER, Label
from spinemamba.anatomy.terminology import level_of, why_no_level
from spinemamba.common.errors import UserError
from spinemamba.imaging.dicom_seg_file import is_dicom_seg, read_dicom_seg
from spinemamba.imaging.formats.image_file import FORMATS
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.seg_nrrd import (
    Segment,
    SegmentationFile,
    names_segments,
    read_segmentation,
)
from spinemamba.imaging.structure_folder import is_structure_folder, read_structure_folder
from spinemamba.imaging.volume import Volume
from spinemamba.labelmaps.is_labelmap import check_labels
from spinemamba.labelmaps.recognise_scheme import check_numbering, guess_numbering, label_stats
from spinemamba.protocol.image_formats import LABEL_FORMATS
from spinemamba.protocol.result import RESULT_END, read_result

_ENTRY_TAG = "TerminologyEntry"
_SHOWN = 6
"""Maximum number of names that a message lists."""

_TABLE_SIZE = 1 << 16
"""Size of lookup tables. Larger values are rare, and are handled one by one."""

_FIRST_SACRAL = "s1"
_NO_SEGMENT = "it belongs to no segment"


@dataclass(frozen=True)
class NamedLabel:
    """A segment of a file, or a value of a label map, with its level.

    Attributes:
        segment: Name, value, layer and so on, as stored.
        level: Its level; None if it is not a vertebra.
        reason: Why it has no level; empty if it has one.
    """

    segment: Segment
    level: Label | None
    reason: str = ""


@dataclass(frozen=True)
class LabelFile:
    """Content of a label file.

    Attributes:
        name: File name.
        layers: Label values as stored, on one grid.
        labels: All segments, or all values of a label map.
        image_xyz: As in `SegmentationFile`.
        header: Metadata fields of the segments, as stored; empty for a label map without names.
        numbering: Numbering of the values of a label map; None if segments have names.
    """

    name: str
    layers: tuple[Volume, ...]
    labels: tuple[NamedLabel, ...]
    image_xyz: tuple[tuple[int, int], ...]
    header: Mapping[str, str]
    numbering: Numbering | None

    @property
    def vertebrae(self) -> list[NamedLabel]:
        """Labels with a level, in the order of the file."""
        return [label for label in self.labels if label.level is not None]

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of every label without a level."""
        return tuple((x.segment.name, x.reason) for x in self.labels if x.level is None)

    @property
    def unknown_values(self) -> tuple[int, ...]:
        """Values of a label map without a level in its numbering."""
        if self.numbering is None:
            return ()
        return tuple(label.segment.value for label in self.labels if label.level is None)

    @property
    def notes(self) -> list[str]:
        """Messages to the user about how the file was read."""
        notes = []
        if self.numbering is not None and self.numbering is not VERSE:
            notes.append(f"The labels are read with the numbering of {self.numbering.title}.")
        for reason in dict.fromkeys(reason for _, reason in self.left_out):
            names = _listed([name for name, why in self.left_out if why == reason])
            notes.append(f"Left out of the labels: {names} ({reason}).")
        return notes


@dataclass(frozen=True)
class LabelledSpine:
    """The vertebrae of a label file, converted to this package's label values.

    Attributes:
        volume: Label values as in `labels.LABELS`, uint8.
        file: The source file.
    """

    volume: Volume
    file: LabelFile

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of every label in the file without a level."""
        return self.file.left_out

    @property
    def notes(self) -> list[str]:
        """Messages to the user about how the file was read."""
        return self.file.notes


def read_vertebra_labels(path: Path, numbering: Numbering | None = None) -> LabelledSpine:
    """Read the vertebrae of a label file. An empty label map is accepted.

    Args:
        path: Label map or segmentation.
        numbering: Numbering of values without names; None to recognise it by anatomy.

    Raises:
        UserError: As `read_label_file`; if two segments have the same level or overlap.
    """
    file = read_label_file(path, numbering)
    return LabelledSpine(_to_verse_values(file), file)


def read_label_file(path: Path, numbering: Numbering | None = None) -> LabelFile:
    """Read a label file with its stored values, and identify the levels.

    Raises:
        UserError: If the file cannot be read, none of its labels is a level, or the numbering of a
            label map cannot be recognised.
    """
    if is_dicom_seg(path):
        file = _read_segmentation(path, numbering, read_dicom_seg)
    elif is_structure_folder(path):
        file = _read_segmentation(path, numbering, read_structure_folder)
    elif names_segments(path):
        file = _read_segmentation(path, numbering, read_segmentation)
    else:
        file = _read_label_image(path, numbering)
    if file.labels and not file.vertebrae:
        names = _listed([name for name, _ in file.left_out])
        remedy = "Name its segments L1, L2 and so on."
        if file.numbering is not None:
            remedy = (
                f"Choose the labels of a spine, or state what the values mean: --labels {OPTION}."
            )
        raise UserError(f"{path.name} has no vertebra, only {names}.", remedy)
    return file


def are_parts(labels: list[NamedLabel]) -> bool:
    """Return whether two segments are S1 and the rest of the sacrum."""
    first = [label for label in labels if _FIRST_SACRAL in label.segment.name.lower()]
    return len(labels) == 2 and len(first) == 1 and labels[0].level is BY_NAME["Sacrum"]


def _listed(names: list[str]) -> str:
    """Join names to a short text; a long list is truncated."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def values_in(array: np.ndarray) -> list[int]:
    """Return the values of a label map (z, y, x) without 0, ascending."""
    low, high = int(array.min()), int(array.max())
    if high - low >= _TABLE_SIZE:
        return [int(value) for value in np.unique(array) if value]
    present = np.zeros(high - low + 1, bool)
    for part in array:  # slice by slice, because indices need eight times the memory
        present[part.astype(np.intp) - low] = True
    return [int(value) for value in np.flatnonzero(present) + low if value]


def remap_values(array: np.ndarray, new: Mapping[int, int]) -> np.ndarray:
    """Map label values (z, y, x) to new ones, uint8. Values that are not in ``new`` become 0."""
    out = np.zeros(array.shape, np.uint8)
    if int(array.min()) < 0 or int(array.max()) >= _TABLE_SIZE:
        for value, other in new.items():
            out[array == value] = other
        return out
    table = np.zeros(_TABLE_SIZE, np.uint8)
    table[list(new)] = list(new.values())
    for part, changed in zip(array, out, strict=True):
        changed[:] = table[part]
    return out


def _read_segmentation(
    path: Path, numbering: Numbering | None, read: Callable[[Path], SegmentationFile]
) -> LabelFile:
    content = read(path)
    _check_values(content.segments, path.name)
    labels = tuple(map(_named, content.segments))
    if numbering is not None and not any(label.level for label in labels):
        # The user's numbering takes precedence over names such as Segment_1.
        labels = tuple(_numbered(label.segment, numbering) for label in labels)
    nameless = tuple(_nameless(content.layers, content.segments))
    return LabelFile(
        path.name, content.layers, labels + nameless, content.image_xyz, content.header, None
    )


def _read_label_image(path: Path, numbering: Numbering | None) -> LabelFile:
    volume = read_labels(path)
    if numbering is None:  # otherwise the user states that these are labels
        check_labels(volume, path.name)
    present = values_in(volume.array)
    if numbering is None and _is_of_run(path, volume, present):
        numbering = VERSE
    elif numbering is None:
        numbering = guess_numbering(label_stats(volume), present, path.name)
    elif numbering is not VERSE:
        check_numbering(label_stats(volume), numbering, path.name)
    segments = [Segment(f"V{v}", numbering.name_of(v), v, 0, {}) for v in present]
    labels = tuple(_numbered(segment, numbering) for segment in segments)
    extent = tuple((0, length - 1) for length in volume.geometry.shape[::-1])
    return LabelFile(path.name, (volume,), labels, extent, {}, numbering)


def result_beside(labels: Path) -> Path | None:
    """Return the path of the result.json next to a label map, or None if there is none."""
    lower = labels.name.lower()
    ending = next((end for end in (*LABEL_FORMATS, *FORMATS) if lower.endswith(end)), "")
    result = labels.with_name(labels.name[: len(labels.name) - len(ending)] + RESULT_END)
    try:
        return result if result.is_file() else None
    except OSError:  # the name is invalid on this file system
        return None


def _is_of_run(path: Path, volume: Volume, present: list[int]) -> bool:
    """Return whether the result.json next to a label map has the same values and shape."""
    if (result_path := result_beside(path)) is None:
        return False
    try:
        result = read_result(result_path)
    except UserError:  # reported where the result is used
        return False
    values = sorted(item.label for item in result.instances)
    return values == present and result.shape == volume.geometry.shape


def _named(segment: Segment) -> NamedLabel:
    entry = segment.tags.get(_ENTRY_TAG, "")
    level = level_of(segment.name, entry)
    return NamedLabel(segment, level, "" if level else why_no_level(entry))


def _numbered(segment: Segment, numbering: Numbering) -> NamedLabel:
    level = numbering.levels.get(segment.value)
    if level is not None:
        return NamedLabel(segment, level)
    return NamedLabel(segment, None, f"no level in the numbering of {numbering.title}")


def _nameless(layers: tuple[Volume, ...], segments: tuple[Segment, ...]) -> Iterator[NamedLabel]:
    """Yield values that belong to no segment."""
    for layer, volume in enumerate(layers):
        known = {segment.value for segment in segments if segment.layer == layer}
        for value in values_in(volume.array):
            if value not in known:
                segment = Segment("", f"value {value}", value, layer, {}, -1)
                yield NamedLabel(segment, None, _NO_SEGMENT)


def _check_values(segments: tuple[Segment, ...], file: str) -> None:
    """Refuse segments with the same voxels.

    Raises:
        UserError: If two segments have the same layer and label value.
    """
    first: dict[tuple[int, int], str] = {}
    for segment in segments:
        place = (segment.layer, segment.value)
        if place in first:
            raise UserError(
                f"{file}: the segments {first[place]} and {segment.name} have the same voxels "
                f"(label value {segment.value}).",
                "Save the segmentation again.",
            )
        first[place] = segment.name


def _to_verse_values(file: LabelFile) -> Volume:
    grid = file.layers[0]
    out = np.zeros(grid.array.shape, np.uint8)
    for layer, volume in enumerate(file.layers):
        new = {x.segment.value: x.level.value for x in file.vertebrae if x.segment.layer == layer}
        part = remap_values(volume.array, new)
        if layer:
            _check_overlap(file, out, part)
        np.copyto(out, part, where=part != 0)
    _check_duplicates(file)
    return grid.with_array(out)


def _check_overlap(file: LabelFile, labels: np.ndarray, part: np.ndarray) -> None:
    """Refuse voxels with two levels.

    Raises:
        UserError: If two layers overlap.
    """
    both = (labels != 0) & (part != 0) & (labels != part)
    if not both.any():
        return
    names = {label.value: label.name for label in BY_NAME.values()}
    pairs = Counter(zip(labels[both].tolist(), part[both].tolist(), strict=True))
    (a, b), count = pairs.most_common(1)[0]
    raise UserError(
        f"{file.name}: the layers overlap, {names[a]} and {names[b]} share {count} voxels.",
        "Let each voxel belong to one vertebra, and save the segmentation again.",
    )


def _check_duplicates(file: LabelFile) -> None:
    """Refuse two labels with the same level, except the parts of the sacrum.

    Raises:
        UserError: If a level has several labels.
    """
    if file.numbering is not None:
        return  # several values of a numbering have one level only if they are parts of it
    present = [set(values_in(layer.array)) for layer in file.layers]
    by_level: dict[str, list[NamedLabel]] = {}
    for label in file.vertebrae:
        if label.segment.value in present[label.segment.layer]:
            by_level.setdefault(label.level.name, []).append(label)
    for level in sorted(by_level, key=ORDER.__getitem__):
        if len(by_level[level]) > 1 and not are_parts(by_level[level]):
            names = " and ".join(label.segment.name for label in by_level[level])
            raise UserError(
                f"{file.name}: the segments {names} are both {level}.",
                "Rename or join them, and save the segmentation again.",
            )
