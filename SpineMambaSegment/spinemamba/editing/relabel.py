"""Solve the levels of a finished run again, with levels fixed by the user.

The segmentation is not repeated: result.json has the level probabilities of every vertebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spinemamba.findings.build_result import instance_results
from spinemamba.findings.level_flags import LEVEL_FLAGS
from spinemamba.imaging.volume import Volume
from spinemamba.instances.find import Instance
from spinemamba.levels.model import level_options
from spinemamba.levels.outlines import OtherScan, outlines_of
from spinemamba.levels.scan_evidence import (
    check_decided,
    difference_warnings,
    fixed_levels,
    levels_from,
    match_warnings,
    with_scan_evidence,
)
from spinemamba.levels.scan_match import match_scans
from spinemamba.levels.solve import assign_levels
from spinemamba.protocol.level_doubt import (
    changes_with_levels,
    deciding_sentences,
    level_warning,
)
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result


def relabel(result: Result, pins: Mapping[int, str]) -> Result:
    """Solve the levels of a run again.

    Args:
        result: Result of the run.
        pins: Fixed levels, by instance number.

    Returns:
        The result with new names, posteriors and flags. Instance numbers do not change.

    Raises:
        UserError: If the fixed levels contradict each other.
    """
    items = tuple(_instance(entry) for entry in result.instances)
    solution = assign_levels(items, pins, options=level_options(result.modality))
    shape = {
        entry.id: tuple(flag for flag in entry.flags if flag.name not in LEVEL_FLAGS)
        for entry in result.instances
    }
    instances = instance_results(items, solution, shape)
    warnings = [text for text in result.warnings if not changes_with_levels(text)]
    if solution.ambiguous:
        warnings.append(level_warning(solution.best, solution.doubt))
    scan = result.levels_from
    if scan is not None and scan.status != "undecided":
        names = {entry.id: entry.name for entry in instances}
        warnings += difference_warnings(scan.source, dict(scan.levels), names)
    return replace(
        result,
        instances=instances,
        labelings=tuple(LabelingResult(b.names, b.posterior) for b in solution.best),
        ambiguous=solution.ambiguous,
        warnings=tuple(warnings),
        fixed_levels=tuple(sorted(pins.items())),
        level_doubt=solution.doubt,
        deciding=deciding_sentences(solution.best) if solution.ambiguous else (),
    )


def relabel_from(
    result: Result, labels: Volume, other: OtherScan, pins: Mapping[int, str]
) -> Result:
    """Solve the levels of a run again, with those of another scan of the patient.

    Args:
        result: Result of the run.
        labels: Label values of the run.
        other: The other scan.
        pins: Fixed levels, by instance number.

    Returns:
        As `relabel`. Levels of vertebrae at the same place as in the other scan are fixed, others
        change the level probabilities.

    Raises:
        UserError: If the fixed levels contradict each other, no vertebra is found in the other
            scan, or several alignments fit.
    """
    numbers = {entry.label: entry.id for entry in result.instances}
    found = outlines_of(labels, dict.fromkeys(numbers))
    outlines = [replace(outline, number=numbers[outline.number]) for outline in found]
    match = match_scans(outlines, other, result.frame_of_reference or None)
    check_decided(match, other)
    instances = with_scan_evidence(result.instances, match, other)
    unmatched = replace(result, instances=instances, levels_from=None)
    solved = relabel(unmatched, fixed_levels(match, other, pins))
    warnings = match_warnings(match, other, {entry.id: entry.name for entry in solved.instances})
    return replace(
        solved,
        warnings=(*solved.warnings, *warnings),
        levels_from=levels_from(match, other),
    )


def _instance(entry: InstanceResult) -> Instance:
    return Instance(
        id=entry.id,
        centroid_lps_mm=entry.centroid_lps_mm,
        volume_ml=entry.volume_ml,
        level_probabilities=entry.level_probabilities,
        is_sacrum=entry.is_sacrum,
        cut_sides=entry.cut_sides,
        no_vertebra=entry.no_vertebra,
        witnesses=entry.witnesses,
    )


def new_values(before: Result, after: Result) -> dict[int, int]:
    """Return the new label value of each old one; 0 for an instance without a level.

    Args:
        before: Result of a run.
        after: Relabelled result.
    """
    values = {entry.id: entry.label for entry in after.instances}
    return {entry.label: values.get(entry.id, 0) for entry in before.instances}
