"""Label files of a small analytic spine, in any numbering and segment layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from analytic_spine import draw, stack

from spinemamba.anatomy.label_schemes import BUILT_IN
from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.anatomy.terminology import terminology_entry
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import to_image, write_image
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

SPACING_MM = (3.0, 2.0, 2.0)


@cache
def spine(*names: str) -> Volume:
    """Return labels of vertebrae from head to tail, in VerSe numbering."""
    return draw(stack(names, np.zeros((len(names), 2))), SPACING_MM, np.eye(3))


def masks(volume: Volume, names: Sequence[str]) -> list[np.ndarray]:
    """Return the voxels of each level."""
    return [volume.array == BY_NAME[name].value for name in names]


@dataclass(frozen=True)
class Part:
    """A segment to write.

    Attributes:
        name: Its name.
        voxels: Its mask.
        value: Its label value.
        layer: Its layer.
        code: Level in its terminology entry; empty for no entry.
        fields: Additional or replaced header fields.
    """

    name: str
    voxels: np.ndarray
    value: int
    layer: int = 0
    code: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def write_parts(path: Path, grid: Volume, parts: Sequence[Part]) -> Path:
    """Write a segmentation as Slicer does."""
    layers = np.zeros((max(p.layer for p in parts) + 1, *grid.array.shape), np.uint8)
    for part in parts:
        layers[part.layer][part.voxels] = part.value
    images = [to_image(grid.with_array(layer)) for layer in layers]
    image = images[0] if len(images) == 1 else sitk.Compose(images)
    for k, part in enumerate(parts):
        entry = terminology_entry(BY_NAME[part.code]) if part.code else ""
        fields = {
            "ID": f"Segment_{k + 1}",
            "Name": part.name,
            "Color": f"0.{k + 1} 0.5 0.5",
            "LabelValue": str(part.value),
            "Layer": str(part.layer),
            "Tags": f"TerminologyEntry:{entry}|Mine:{k}|" if entry else f"Mine:{k}|",
            **part.fields,
        }
        for name, text in fields.items():
            image.SetMetaData(f"Segment{k}_{name}", text)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def numbered(volume: Volume, numbers: Mapping[str, int]) -> Volume:
    """Return labels with other values."""
    out = np.zeros(volume.array.shape, np.uint8)
    for name, number in numbers.items():
        out[volume.array == BY_NAME[name].value] = number
    return volume.with_array(out)


def numbers_of(scheme: str, names: Sequence[str]) -> dict[str, int]:
    """Return the number of each level in a built-in numbering."""
    by_name = {label.name: value for value, label in reversed(BUILT_IN[scheme].levels.items())}
    return {name: by_name[name] for name in names}


def write_numbers(path: Path, volume: Volume, numbers: Mapping[str, int]) -> Path:
    """Write labels with other values."""
    write_image(numbered(volume, numbers), path)
    return path


def write_json(path: Path, content: object) -> Path:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def result_of(volume: Volume, names: tuple[str, ...]) -> Result:
    """Return the result of a run that found these labels, with evidence for its levels."""
    grid, instances = volume.geometry, []
    for number, (name, mask) in enumerate(zip(names, masks(volume, names), strict=True), 1):
        evidence = np.full(len(NETWORK_LEVELS), 0.005)
        evidence[NETWORK_LEVELS.index(name)] = 0.8
        instances.append(
            InstanceResult(
                id=number,
                label=BY_NAME[name].value,
                name=name,
                posterior=0.7,
                alternatives=(),
                level_probabilities=tuple(evidence / evidence.sum()),
                centroid_lps_mm=tuple(map(float, grid.to_lps_mm(np.argwhere(mask).mean(axis=0)))),
                volume_ml=float(mask.sum()) * grid.voxel_ml,
                complete=True,
                cut_sides=(),
                flags=(),
            )
        )
    return Result(
        run_id="r", model_name="m", model_version="1", model_hash="h", package_version="0",
        device="cpu", scan_backend="s", modality="ct", seconds={}, shape=grid.shape,
        spacing_mm=grid.spacing_mm, origin_lps_mm=tuple(map(float, grid.origin_lps_mm)),
        direction_lps=tuple(map(float, np.ravel(grid.direction_lps))), instances=tuple(instances),
        labelings=(LabelingResult(names, 0.7),), ambiguous=False, warnings=(),
    )  # fmt: skip
