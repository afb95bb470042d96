"""Build the result of a run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.findings.level_flags import level_flags
from spinemamba.findings.shape_flags import ShapeFlags
from spinemamba.imaging.intensity import LOCAL_MEAN, Modality
from spinemamba.imaging.volume import Geometry
from spinemamba.instances.find import Instance, Instances
from spinemamba.levels.solve import NAMES, Labeling, LevelSolution
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

if TYPE_CHECKING:
    from spinemamba.inference.model import Model

_MOST_LABELINGS = 3
"""Greatest number of labelings in the warning."""

_AnyLabeling = Labeling | LabelingResult

_LEAST_ALTERNATIVE = 0.01
"""Least probability of a level to be listed as an alternative."""

_MOST_ALTERNATIVES = 3


@dataclass(frozen=True)
class RunDetails:
    """Details of a run.

    Attributes:
        model: Networks.
        modality: "ct" or "mr".
        seconds: Duration of each stage.
        pins: Levels fixed by the user, by instance number.
        shape: Quality flags of the voxels.
        scan_backend: Name of the selective scan back end.
        sequence: Kind of the MR sequence, if known.
    """

    model: Model
    modality: Modality
    seconds: dict[str, float]
    pins: Mapping[int, str]
    shape: ShapeFlags
    scan_backend: str
    sequence: str | None = None


def build_result(
    geometry: Geometry, instances: Instances, solution: LevelSolution, details: RunDetails
) -> Result:
    """Return the result of a run.

    Args:
        geometry: Geometry of the input.
        instances: Instances.
        solution: Levels of the instances.
        details: Details of the run.
    """
    model = details.model
    return Result(
        run_id=uuid.uuid4().hex,
        model_name=model.card.name,
        model_version=model.card.version,
        model_hash=model.card.hash(),
        package_version=__version__,
        device=str(model.fine.device),
        scan_backend=details.scan_backend,
        modality=details.modality,
        seconds=details.seconds,
        shape=geometry.shape,
        spacing_mm=geometry.spacing_mm,
        origin_lps_mm=geometry.origin_lps_mm,
        direction_lps=tuple(float(v) for v in np.ravel(geometry.direction_lps)),
        instances=instance_results(instances.items, solution, details.shape.by_number),
        labelings=tuple(LabelingResult(b.names, b.posterior) for b in solution.best),
        ambiguous=solution.ambiguous,
        warnings=tuple(_warnings(details, solution)),
        fixed_levels=tuple(sorted(details.pins.items())),
        precision=model.fine.precision,
        sequence=details.sequence,
    )


def instance_results(
    items: tuple[Instance, ...],
    solution: LevelSolution,
    shape: Mapping[int, tuple[Flag, ...]],
) -> tuple[InstanceResult, ...]:
    """Return the result of each vertebra; instances that are not vertebrae are omitted.

    Args:
        items: Instances from top to bottom.
        solution: Levels of the instances.
        shape: Flags by instance number that do not depend on levels.
    """
    results = []
    names = solution.best[0].names if solution.best else ()
    flags = level_flags(items, names, solution.posteriors, solution.doubles)
    for k, item in enumerate(items):
        name = names[k]
        if name is None:
            continue
        others = sorted(zip(NAMES, solution.marginals[k], strict=True), key=lambda pair: -pair[1])
        alternatives = [(n, float(p)) for n, p in others if n != name and p >= _LEAST_ALTERNATIVE]
        results.append(
            InstanceResult(
                id=item.id,
                label=BY_NAME[name].value,
                name=name,
                posterior=solution.posteriors[k],
                alternatives=tuple(alternatives[:_MOST_ALTERNATIVES]),
                level_probabilities=item.level_probabilities,
                centroid_lps_mm=item.centroid_lps_mm,
                volume_ml=item.volume_ml,
                complete=not item.cut_sides,
                cut_sides=item.cut_sides,
                is_sacrum=item.is_sacrum,
                no_vertebra=item.no_vertebra,
                witnesses=item.witnesses,
                flags=(*flags[k], *shape.get(item.id, ())),
            )
        )
    return tuple(results)


def _warnings(details: RunDetails, solution: LevelSolution) -> list[str]:
    out = [flag.sentence for flag in details.shape.scan]
    if details.modality == "mr":
        out.append(_mr_warning(details.model))
    if solution.ambiguous:
        out.append(level_warning(solution.best))
    return out


def _mr_warning(model: Model) -> str:
    if LOCAL_MEAN.keys() <= model.coarse.normalisation.keys():
        return "MR: arches and processes are less certain than bodies. Check them."
    return f"MR is experimental: the model {model.card.name} has learned from CT and synthetic MR."


def level_warning(labelings: Sequence[_AnyLabeling]) -> str:
    """Return a warning that lists the most likely labelings, most likely first."""
    ranges = " or ".join(_level_range(labeling) for labeling in _distinct(labelings))
    return f"The levels are ambiguous: {ranges}. Verify one level."


def _distinct(labelings: Sequence[_AnyLabeling]) -> list[_AnyLabeling]:
    """Return the most likely labelings that differ in the first or the last level."""
    ends: dict[tuple[str | None, str | None], _AnyLabeling] = {}
    for labeling in labelings:
        ends.setdefault((labeling.names[0], labeling.names[-1]), labeling)
    return list(ends.values())[:_MOST_LABELINGS]


def _level_range(labeling: _AnyLabeling) -> str:
    names = [name for name in labeling.names if name]
    return f"{names[0]} to {names[-1]} ({100 * labeling.posterior:.0f} %)" if names else "none"
