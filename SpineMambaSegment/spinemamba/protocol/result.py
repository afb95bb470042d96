"""result.json: the result of a run, with a schema version.

Standard library only, because panel, command line, evaluation and review read this file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.common.versioned_json import strip_schema
from spinemamba.protocol.flags import Flag

SCHEMA = 2
RESULT_END = "_result.json"
"""Suffix of the file name of a result; the stem is that of the labels."""


@dataclass(frozen=True)
class InstanceResult:
    """One vertebra.

    Attributes:
        id: Number from top to bottom, from 1; does not change when the vertebra is renamed.
        label: Value in the label image.
        name: Name of the level.
        posterior: Posterior probability of this level.
        alternatives: Other levels with their probabilities, most likely first.
        evidence: Level probabilities, by appearance alone, in the order of
            `labels.NETWORK_LEVELS`.
        centroid_lps_mm: Centroid of the voxels.
        volume_ml: Volume of the voxels.
        complete: Whether the field of view contains the whole vertebra.
        cut_sides: Sides of the field of view that truncate it.
        flags: Quality flags.
        is_sacrum: Whether it is the sacrum by its appearance, whatever its level.
    """

    id: int
    label: int
    name: str
    posterior: float
    alternatives: tuple[tuple[str, float], ...]
    evidence: tuple[float, ...]
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    complete: bool
    cut_sides: tuple[str, ...]
    flags: tuple[Flag, ...]
    is_sacrum: bool = False


@dataclass(frozen=True)
class LabelingResult:
    """One labeling of all instances, top to bottom; None stands for *not a vertebra*."""

    names: tuple[str | None, ...]
    posterior: float


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        run_id: Unique identifier.
        model_name: Name of the model.
        model_version: Version of its weights.
        model_hash: Hash of its weights.
        package_version: Version of this package.
        device: Device of the networks.
        scan_backend: Which selective scan ran.
        modality: "ct" or "mr".
        seconds: Time of each stage.
        shape: Voxels of the input along z, y, x.
        spacing_mm: Voxel size of the input along z, y, x.
        origin_lps_mm: Centre of the input's first voxel.
        direction_lps: Directions of the input's x, y, z axes as columns, row by row.
        instances: Vertebrae, top to bottom.
        labelings: The most likely labelings, best first.
        ambiguous: Whether a shift by one level is nearly as likely.
        warnings: Warnings for the user, as sentences.
        pins: Number and level of each vertebra with a level fixed by the user.
        precision: Number format of the convolutions, "float32" or "bfloat16".
    """

    run_id: str
    model_name: str
    model_version: str
    model_hash: str
    package_version: str
    device: str
    scan_backend: str
    modality: str
    seconds: dict[str, float]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float]
    direction_lps: tuple[float, ...]
    instances: tuple[InstanceResult, ...]
    labelings: tuple[LabelingResult, ...]
    ambiguous: bool
    warnings: tuple[str, ...]
    pins: tuple[tuple[int, str], ...] = ()
    precision: str = "float32"

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `from_json` reads."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """Return the result stored in a dictionary.

        Raises:
            ValueError: If the schema differs, or an entry is missing or unknown.
        """
        values = strip_schema(values, SCHEMA)
        _check_names(cls, values)
        instances = tuple(_instance(entry) for entry in values.pop("instances"))
        labelings = tuple(
            LabelingResult(tuple(entry["names"]), float(entry["posterior"]))
            for entry in values.pop("labelings")
        )
        pins = tuple((int(number), str(name)) for number, name in values.pop("pins"))
        return cls(instances=instances, labelings=labelings, pins=pins, **_tuples(values))

    def write(self, path: Path) -> None:
        """Write result.json; not atomic, so callers pass a path from `atomic_files`."""
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read and check result.json.

    Raises:
        UserError: If the file is missing or damaged, or has another schema version.
    """
    try:
        return Result.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path.name} is not the result of a run: {error}.",
            "Choose a result.json written by this version, or segment again.",
        ) from error


def _instance(values: dict[str, Any]) -> InstanceResult:
    _check_names(InstanceResult, values)
    if BY_VALUE[values["label"]].name != values["name"]:
        raise ValueError(f"label {values['label']} is not {values['name']}")
    values = {**values, "alternatives": tuple(map(tuple, values["alternatives"]))}
    values["flags"] = tuple(_flag(entry) for entry in values["flags"])
    return InstanceResult(**_tuples(values))


def _flag(values: dict[str, Any]) -> Flag:
    _check_names(Flag, values)
    return Flag(**values)


def _check_names(kind: type, values: dict[str, Any]) -> None:
    expected = {f.name for f in fields(kind)}
    if wrong := expected ^ set(values):
        raise ValueError(f"missing or unknown entries: {', '.join(sorted(wrong))}")


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
