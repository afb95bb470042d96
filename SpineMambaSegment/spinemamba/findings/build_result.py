"""Build the result of a run."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.findings.level_flags import level_flags
from spinemamba.findings.shape_flags import ShapeFlags
from spinemamba.imaging.intensity import Modality, uses_local_mean
from spinemamba.imaging.volume import Geometry
from spinemamba.instances.find import Instance, Instances
from spinemamba.levels.outlines import OtherScan
from spinemamba.levels.scan_evidence import levels_from, match_warnings
from spinemamba.levels.scan_match import ScanMatch
from spinemamba.levels.solve import NAMES, LevelSolution
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.left_out import LeftOutBone
from spinemamba.protocol.level_doubt import deciding_sentences, level_warning
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

if TYPE_CHECKING:
    from spinemamba.inference.model import Model

_LEAST_ALTERNATIVE = 0.01
"""Least probability of a level to be listed as an alternative."""

_MOST_ALTERNATIVES = 3

_LEAST_FAR_ML = 5.0
"""Least volume of bone left out far from the spine that is told: less is at the ends of ribs."""

_INVERTED = (
    "MR: the contrast is unusual; the spine was found in the inverted image. Check the outlines."
)


@dataclass(frozen=True)
class GivenLevels:
    """Levels that do not come from the image.

    Attributes:
        pins: Levels fixed by the user or by another scan, by instance number.
        frame: Frame of reference of the image, as in `imaging.volume.Volume`.
        match: Vertebrae found in another scan; None without one.
        other: The other scan.
    """

    pins: Mapping[int, str]
    frame: str | None = None
    match: ScanMatch | None = None
    other: OtherScan | None = None


@dataclass(frozen=True)
class RunDetails:
    """Details of a run.

    Attributes:
        model: Networks.
        modality: "ct" or "mr".
        seconds: Duration of each stage.
        given: Levels that do not come from the image.
        shape: Quality flags of the voxels.
        scan_backend: Name of the selective scan back end.
        left_out: Bone that is not in the labels.
        sequence: Kind of the MR sequence, if known.
        enlarged: How many times the image was enlarged for the networks, because the patient is
            small.
        inverted: Whether the networks read the inverse of an MR.
    """

    model: Model
    modality: Modality
    seconds: dict[str, float]
    given: GivenLevels
    shape: ShapeFlags
    scan_backend: str
    left_out: tuple[LeftOutBone, ...] = ()
    sequence: str | None = None
    enlarged: float = 1.0
    inverted: bool = False


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
    model, given = details.model, details.given
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
        warnings=tuple(_warnings(details, instances, solution)),
        fixed_levels=tuple(sorted(given.pins.items())),
        precision=model.fine.precision,
        left_out=details.left_out,
        level_doubt=solution.doubt,
        deciding=deciding_sentences(solution.best) if solution.ambiguous else (),
        levels_from=levels_from(given.match, given.other) if given.match else None,
        frame_of_reference=given.frame or "",
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
    flags = level_flags(items, names, _certainties(solution), solution.doubles)
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


def _certainties(solution: LevelSolution) -> list[tuple[float, float]]:
    """Return the probability of the level of each instance, and that of its likeliest other one."""
    names = solution.best[0].names if solution.best else ()
    pairs = []
    for name, posterior, row in zip(names, solution.posteriors, solution.marginals, strict=True):
        others = (float(p) for other, p in zip(NAMES, row, strict=True) if other != name)
        pairs.append((posterior, max(others)))
    return pairs


def _warnings(details: RunDetails, instances: Instances, solution: LevelSolution) -> list[str]:
    out = [flag.sentence for flag in details.shape.scan]
    if details.modality == "mr":
        out.append(_mr_warning(details.model))
    if details.enlarged > 1:
        out.append(
            f"The vertebrae are small, {100 / details.enlarged:.0f} % of an adult's size: the "
            f"image was enlarged {details.enlarged:.1f} times for the networks. Check all names."
        )
    if details.inverted:
        out.append(_INVERTED)
    if count := instances.off_spine:
        pieces = "One piece" if count == 1 else f"{count} pieces"
        out.append(f"{pieces} like a vertebra, but not in line with the others, left out.")
    if instances.out_of_reach_ml >= _LEAST_FAR_ML:
        out.append(
            f"{instances.out_of_reach_ml:.0f} mL like bone, but too far from the spine for a "
            "vertebra, left out."
        )
    given = details.given
    if given.match and solution.best:
        numbers = (item.id for item in instances.items)
        names = dict(zip(numbers, solution.best[0].names, strict=True))
        out += match_warnings(given.match, given.other, names)
    if solution.ambiguous:
        out.append(level_warning(solution.best, solution.doubt))
    return out


def _mr_warning(model: Model) -> str:
    if uses_local_mean(model.coarse.normalisation):
        return "MR: arches and processes are less certain than bodies. Check them."
    return f"MR is experimental: the model {model.card.name} has learned from CT and synthetic MR."
