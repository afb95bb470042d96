"""Put into words and numbers what a run found."""

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
from spinemamba.imaging.intensity import Modality
from spinemamba.imaging.volume import Geometry
from spinemamba.instances.find import Instance, Instances
from spinemamba.levels.solve import NAMES, Labeling, LevelSolution
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

if TYPE_CHECKING:
    from spinemamba.inference.model import Model

MOST_WAYS = 3
"""More ways to name a spine help nobody."""

Way = Labeling | LabelingResult

LEAST_ALTERNATIVE = 0.01
"""Levels less likely than this are not worth telling."""


@dataclass(frozen=True)
class RunDetails:
    """How a run was made, and what its voxels tell.

    Attributes:
        model: The networks.
        modality: "ct" or "mr".
        seconds: Of each stage.
        pins: Level of each vertebra that a person has fixed, by its number.
        shape: What is odd about the vertebrae's voxels.
        scan_backend: Name of the selective scan that ran.
    """

    model: Model
    modality: Modality
    seconds: dict[str, float]
    pins: Mapping[int, str]
    shape: ShapeFlags
    scan_backend: str


def build_result(
    geometry: Geometry, instances: Instances, solution: LevelSolution, details: RunDetails
) -> Result:
    """Return the result of a run.

    Args:
        geometry: Grid of the input as it was given.
        instances: The vertebrae.
        solution: Their names.
        details: How the run was made.
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
        pins=tuple(sorted(details.pins.items())),
        precision=model.fine.precision,
    )


def instance_results(
    items: tuple[Instance, ...],
    solution: LevelSolution,
    shape: Mapping[int, tuple[Flag, ...]],
) -> tuple[InstanceResult, ...]:
    """Return what is known of each vertebra; what the solver calls none is left out.

    Args:
        items: Instances, top to bottom.
        solution: Their names.
        shape: Flags of each number that stay whatever the names are.
    """
    found = []
    names = solution.best[0].names if solution.best else ()
    reasons = level_flags(items, names, solution.posteriors, solution.doubles)
    for k, item in enumerate(items):
        name = names[k]
        if name is None:
            continue
        others = sorted(zip(NAMES, solution.marginals[k], strict=True), key=lambda pair: -pair[1])
        alternatives = [(n, float(p)) for n, p in others if n != name and p >= LEAST_ALTERNATIVE]
        found.append(
            InstanceResult(
                id=item.id,
                label=BY_NAME[name].value,
                name=name,
                posterior=solution.posteriors[k],
                alternatives=tuple(alternatives[:3]),
                evidence=item.evidence,
                centroid_lps_mm=item.centroid_lps_mm,
                volume_ml=item.volume_ml,
                complete=not item.cut_sides,
                cut_sides=item.cut_sides,
                is_sacrum=item.is_sacrum,
                flags=(*reasons[k], *shape.get(item.id, ())),
            )
        )
    return tuple(found)


def _warnings(details: RunDetails, solution: LevelSolution) -> list[str]:
    out = [flag.sentence for flag in details.shape.scan]
    if details.modality == "mr":
        out.append("MR is experimental: the bundled model has learned from CT and synthetic MR.")
    if solution.ambiguous:
        out.append(level_warning(solution.best))
    return out


def level_warning(labelings: Sequence[Way]) -> str:
    """Return a sentence that tells the ways to name a spine, the likeliest first."""
    ways = " or ".join(_way(labeling) for labeling in _distinct(labelings))
    return f"The levels are ambiguous: {ways}. Verify one level."


def _distinct(labelings: Sequence[Way]) -> list[Way]:
    """Return the best labelings that begin or end differently."""
    ends: dict[tuple[str | None, str | None], Way] = {}
    for labeling in labelings:
        ends.setdefault((labeling.names[0], labeling.names[-1]), labeling)
    return list(ends.values())[:MOST_WAYS]


def _way(labeling: Way) -> str:
    names = [name for name in labeling.names if name]
    return f"{names[0]} to {names[-1]} ({100 * labeling.posterior:.0f} %)" if names else "none"
