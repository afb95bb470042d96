"""Name the vertebrae of a finished run again, with levels that a person is sure of.

Nothing is segmented anew: result.json keeps what the networks said of every vertebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spinemamba.findings.build_result import instance_results, level_warning
from spinemamba.findings.level_flags import LEVEL_FLAGS
from spinemamba.instances.find import Instance
from spinemamba.levels.solve import assign_levels
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result


def relabel(result: Result, pins: Mapping[int, str]) -> Result:
    """Solve the levels of a run again.

    Args:
        result: The run.
        pins: Level of each vertebra that a person is sure of, by the vertebra's number.

    Returns:
        The run with new names, posteriors and flags; the numbers of the vertebrae stay.

    Raises:
        UserError: If no spine can have these levels at these places.
    """
    items = tuple(_instance(entry) for entry in result.instances)
    solution = assign_levels(items, pins)
    shape = {
        entry.id: tuple(flag for flag in entry.flags if flag.name not in LEVEL_FLAGS)
        for entry in result.instances
    }
    old = level_warning(result.labelings) if result.ambiguous else None
    warnings = [text for text in result.warnings if text != old]
    if solution.ambiguous:
        warnings.append(level_warning(solution.best))
    return replace(
        result,
        instances=instance_results(items, solution, shape),
        labelings=tuple(LabelingResult(b.names, b.posterior) for b in solution.best),
        ambiguous=solution.ambiguous,
        warnings=tuple(warnings),
        pins=tuple(sorted(pins.items())),
    )


def _instance(entry: InstanceResult) -> Instance:
    return Instance(
        id=entry.id,
        centroid_lps_mm=entry.centroid_lps_mm,
        volume_ml=entry.volume_ml,
        evidence=entry.evidence,
        is_sacrum=entry.is_sacrum,
        cut_sides=entry.cut_sides,
    )


def new_values(before: Result, after: Result) -> dict[int, int]:
    """Return the new label value of each old one; 0 for a vertebra that has no name any more.

    Args:
        before: A run as it was.
        after: The same run, relabelled.
    """
    values = {entry.id: entry.label for entry in after.instances}
    return {entry.label: values.get(entry.id, 0) for entry in before.instances}
