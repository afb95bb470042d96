"""Write labels after a change, with all other values, names and layers unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, Label
from spinemamba.anatomy.terminology import SegmentInfo, segment_info
from spinemamba.common.errors import UserError
from spinemamba.imaging.seg_nrrd import (
    Segment,
    extent_field,
    fields_by_segment,
    segment_fields,
    write_labels,
    write_layers,
)
from spinemamba.imaging.volume import Box
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.read import LabelledSpine, NamedLabel, remap_values, values_in
from spinemamba.protocol.review import STATUS_TAG

_NRRD = ".nrrd"


def write_changed(spine: LabelledSpine, after: np.ndarray, path: Path) -> None:
    """Write labels after the masks of vertebrae have changed.

    Segments keep names, values, colours, tags and layers. The values of a label map stay in its
    numbering, unless it is written as a segmentation. Structures that are not vertebrae keep their
    voxels.

    Args:
        spine: The labels as read.
        after: New values as in `labels.LABELS`, shape of ``spine.volume``.
        path: File to write; the ending selects the format.

    Raises:
        UserError: If the file cannot be written, or the numbering has no value for a new level.
    """
    file, named = spine.file, path.name.lower().endswith(".seg.nrrd")
    if not file.header and named:
        present = [segment_info(value) for value in _present(after)]
        write_labels(spine.volume.with_array(after), path, present)
    elif not file.header:
        labels, (array,) = _changed(spine, after)
        write_image(spine.volume.with_array(array), path)
    elif path.name.lower().endswith(_NRRD):
        labels, arrays = _changed(spine, after)
        _write_segments(spine, labels, arrays, path)
    else:
        write_image(spine.volume.with_array(after), path)


def write_renamed(
    spine: LabelledSpine, new: Mapping[int, int], infos: Sequence[SegmentInfo], path: Path
) -> None:
    """Write labels after vertebrae got other levels; other segments do not change.

    Args:
        spine: The labels as read.
        new: New value of each value in ``spine.volume``; values without one are removed.
        infos: Name, colour, code and provenance of each new value.
        path: File to write; the ending selects the format.

    Raises:
        UserError: If the file cannot be written.
    """
    if not (spine.file.header and path.name.lower().endswith(_NRRD)):
        array = remap_values(spine.volume.array, new)
        write_labels(spine.volume.with_array(array), path, infos)
        return
    by_value = {info.value: info for info in infos}
    lookups = _renamed_values(spine, new)
    arrays = [_looked_up(v.array, t) for v, t in zip(spine.file.layers, lookups, strict=True)]
    fields = fields_by_segment(spine.file.header)
    segments = []
    for label in spine.file.labels:
        old = fields.get(label.segment.number)
        if old is None:
            continue
        if label.level is None:
            value = lookups[label.segment.layer].get(label.segment.value, label.segment.value)
            segments.append({**old, "LabelValue": str(value)})
        elif info := by_value.get(new.get(label.level.value, 0)):
            array = arrays[label.segment.layer]
            segments.append(_renamed_fields(label, info, old, array))
    layers = [spine.volume.with_array(array) for array in arrays]
    write_layers(layers, path, spine.file.header, segments)


def _renamed_fields(
    label: NamedLabel, info: SegmentInfo, old: Mapping[str, str], array: np.ndarray
) -> dict[str, str]:
    """Return the fields of a vertebra with its new level. A new level resets the review status."""
    tags = dict(label.segment.tags)
    if label.level.value != info.value:
        tags.pop(STATUS_TAG, None)
    tags.pop("TerminologyEntry", None)
    changed = replace(info, tags={**tags, **info.tags})
    return {**old, **segment_fields(changed, _box(array, info.value), label.segment.layer)}


def _renamed_values(spine: LabelledSpine, new: Mapping[int, int]) -> list[dict[int, int]]:
    """Return the map of values of each layer; other segments move to free values on conflict."""
    out = []
    for layer in range(len(spine.file.layers)):
        here = [label for label in spine.file.labels if label.segment.layer == layer]
        table = {x.segment.value: new.get(x.level.value, 0) for x in here if x.level is not None}
        taken = set(table.values())
        others = [x.segment.value for x in here if x.level is None]
        for value in others:
            if value in taken:
                table[value] = _free_value({*taken, *others, *BY_VALUE})
                taken.add(table[value])
        out.append(table)
    return out


def _looked_up(array: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    out = array.copy()
    for old, value in table.items():
        out[array == old] = value
    return out


def _changed(spine: LabelledSpine, after: np.ndarray) -> tuple[list[NamedLabel], list[np.ndarray]]:
    """Return the labels of a file, including new ones, and its changed layers."""
    before, labels = spine.volume.array, list(spine.file.labels)
    layers = [volume.array.copy() for volume in spine.file.layers]
    changed = before != after
    for label in spine.file.vertebrae:
        layer = layers[label.segment.layer]
        layer[changed & (layer == label.segment.value)] = 0
    for value in _present(np.where(changed, after, 0)):
        label = next((x for x in labels if x.level is BY_VALUE[value]), None)
        if label is None:
            label = _new_label(spine, BY_VALUE[value])
            labels.append(label)
        layer = layers[label.segment.layer]
        layer[changed & (after == value) & (layer == 0)] = label.segment.value
    return labels, layers


def _new_label(spine: LabelledSpine, level: Label) -> NamedLabel:
    """Return a label for a level that is not in the file."""
    numbering = spine.file.numbering
    if numbering is None:
        taken = {x.segment.value for x in spine.file.labels if x.segment.layer == 0}
        value = level.value if level.value not in taken else _free_value({*taken, *BY_VALUE})
        number = max(fields_by_segment(spine.file.header), default=-1) + 1
        return NamedLabel(Segment(f"V{value}", level.name, value, 0, {}, number), level)
    value = next((v for v, other in numbering.levels.items() if other is level), None)
    if value is None:
        raise UserError(
            f"The numbering of {numbering.title} has no value for {level.name}.",
            "Write a .seg.nrrd, which has names.",
        )
    return NamedLabel(Segment(f"V{value}", level.name, value, 0, {}), level)


def _free_value(taken: set[int]) -> int:
    return next(value for value in range(1, len(taken) + 2) if value not in taken)


def _write_segments(
    spine: LabelledSpine, labels: Sequence[NamedLabel], arrays: Sequence[np.ndarray], path: Path
) -> None:
    fields = fields_by_segment(spine.file.header)
    segments = []
    for label in labels:
        segment = label.segment
        box = _box(arrays[segment.layer], segment.value)
        if segment.number in fields:
            segments.append({**fields[segment.number], "Extent": extent_field(box)})
        elif label.level is not None:
            info = replace(segment_info(label.level.value), value=segment.value)
            segments.append(segment_fields(info, box, segment.layer))
    layers = [spine.volume.with_array(array) for array in arrays]
    write_layers(layers, path, spine.file.header, segments)


def _box(array: np.ndarray, value: int) -> Box | None:
    return next(iter(ndimage.find_objects((array == value).astype(np.uint8))), None)


def _present(array: np.ndarray) -> list[int]:
    """Return the values of levels in an array, from cranial to caudal."""
    present = set(values_in(array))
    return [value for value in BY_VALUE if value in present]
