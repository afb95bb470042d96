"""result.json: the result of a run, with a schema version.

Standard library only, because panel, command line, evaluation and review read this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.json_schema import OPTIONAL, JsonFormat
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.left_out import LeftOutBone
from spinemamba.protocol.level_doubt import Doubt, grade_labelings

RESULT_END = "_result.json"
"""Suffix of the file name of a result; the stem is that of the labels."""


@dataclass(frozen=True)
class Witnesses:
    """What the level network sees at a vertebra besides its level, as probabilities.

    Attributes:
        rib_left: A rib on the patient's left.
        rib_right: A rib on the patient's right.
        first_rib: It is the first vertebra with ribs.
        last_rib: It is the last vertebra with ribs.
        above_sacrum: It is the last vertebra above the sacrum.
    """

    rib_left: float
    rib_right: float
    first_rib: float
    last_rib: float
    above_sacrum: float


@dataclass(frozen=True)
class InstanceResult:
    """One vertebra.

    Attributes:
        id: Number from top to bottom, from 1; does not change when the vertebra is renamed.
        label: Value in the label image.
        name: Name of the level.
        posterior: Posterior probability of this level.
        alternatives: Other levels with their probabilities, most likely first.
        level_probabilities: Level probabilities, by appearance alone, in the order of
            `labels.NETWORK_LEVELS`.
        centroid_lps_mm: Centroid of the voxels.
        volume_ml: Volume of the voxels.
        complete: Whether the field of view contains the whole vertebra.
        cut_sides: Sides of the field of view that truncate it.
        flags: Quality flags.
        is_sacrum: Whether it is the sacrum by its appearance, whatever its level.
        no_vertebra: Probability by the level network that it is not a vertebra; None if the model
            has no such network.
        witnesses: What that network sees besides the level; None without it.
    """

    id: int
    label: int
    name: str
    posterior: float
    alternatives: tuple[tuple[str, float], ...]
    level_probabilities: tuple[float, ...]
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    complete: bool
    cut_sides: tuple[str, ...]
    flags: tuple[Flag, ...]
    is_sacrum: bool = False
    no_vertebra: float | None = field(default=None, metadata=OPTIONAL)
    witnesses: Witnesses | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class LabelingResult:
    """One labeling of all instances.

    Attributes:
        names: Levels from top to bottom; None stands for *not a vertebra*.
        posterior: Posterior probability of this labeling.
    """

    names: tuple[str | None, ...]
    posterior: float


@dataclass(frozen=True)
class LevelsFrom:
    """Another scan of the patient that has named vertebrae.

    Attributes:
        source: Name of its file or segmentation.
        method: "overlap" of vertebrae at the same place, or "shape" and spacing after alignment.
        status: "found", or "undecided" if a second alignment fits as well; nothing is named then.
        fixed: Whether its levels were fixed; otherwise they were evidence of the level solver.
        offset: Index of a partner in the other scan minus that of the vertebra, from head to tail.
        score_mm: Mean distance of the surfaces, plus the mean difference of the spacings.
        levels: Number and level of each vertebra that was found in the other scan.
        second_levels: The same of the second best alignment.
        second_score_mm: Its score; None if there is none.
    """

    source: str
    method: Literal["overlap", "shape"]
    status: Literal["found", "undecided"]
    fixed: bool
    offset: int
    score_mm: float
    levels: tuple[tuple[int, str], ...]
    second_levels: tuple[tuple[int, str], ...]
    second_score_mm: float | None


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
        ambiguous: Whether the levels are in doubt, in any grade.
        warnings: Warnings for the user, as sentences.
        fixed_levels: Number and level of each vertebra with a level fixed by the user.
        precision: Number format of the convolutions, "float32" or "bfloat16".
        left_out: Bone that was found, but is not in the labels.
        level_doubt: Grade of doubt: "none"; "likely", not proven; "check_level", because other
            levels are close. None in files of earlier versions.
        deciding: What would decide between the likely labelings, as sentences.
        levels_from: The other scan that has named vertebrae; None without one.
        frame_of_reference: SHA-256 of the DICOM Frame of Reference UID; empty if it is not known.
        sequence: Kind of the MR sequence by the tags of the image; None if they do not say it.
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
    fixed_levels: tuple[tuple[int, str], ...] = ()
    precision: str = "float32"
    left_out: tuple[LeftOutBone, ...] = field(default=(), metadata=OPTIONAL)
    level_doubt: Doubt | None = field(default=None, metadata=OPTIONAL)
    deciding: tuple[str, ...] = field(default=(), metadata=OPTIONAL)
    levels_from: LevelsFrom | None = field(default=None, metadata=OPTIONAL)
    frame_of_reference: str = field(default="", metadata=OPTIONAL)
    sequence: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def doubt(self) -> Doubt:
        """Grade of doubt, also of a result of an earlier version."""
        if self.level_doubt is not None:
            return self.level_doubt
        if not self.ambiguous:
            return "none"
        return grade_labelings(self.labelings) if self.labelings else "check_level"

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `from_json` reads."""
        return RESULT.to_json(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """Return the result stored in a dictionary, of this schema or of an older one.

        Raises:
            ValueError: If the schema is not supported, or an entry is missing, unknown or wrong.
        """
        return RESULT.parse(values)

    def write(self, path: Path) -> None:
        """Write result.json; not atomic, so callers pass a path from `atomic_files`."""
        RESULT.write(self, path)


def read_result(path: Path) -> Result:
    """Read and check result.json.

    Raises:
        UserError: If the file is missing or damaged, or has a schema that is not supported.
    """
    return RESULT.read(path)


def _check_levels(result: Result) -> None:
    """Raise ValueError if the label value of a vertebra is not that of its level."""
    for index, instance in enumerate(result.instances):
        label = BY_VALUE.get(instance.label)
        if label is None or label.name != instance.name:
            raise ValueError(f"instances[{index}]: label {instance.label} is not {instance.name}")


RESULT = JsonFormat(
    Result,
    "the result of a run",
    "Choose a result.json written by this program, or segment again.",
    version=3,
    renamed={2: {"instances[].evidence": "level_probabilities", "pins": "fixed_levels"}},
    check=_check_levels,
)
"""Format of result.json."""
