"""Name the vertebrae of a finished run again: read labels and result, write both."""

from __future__ import annotations

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.progress import Progress, Warn
from spinemamba.editing.relabel import new_values, relabel, relabel_from
from spinemamba.jobs.outputs import check_outputs
from spinemamba.jobs.segment import segments_of
from spinemamba.labelmaps.other_scan import read_other_scan
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.labelmaps.same_run import check_same_run
from spinemamba.labelmaps.write_changes import write_renamed
from spinemamba.levels.pins import match_pins, parse_pin
from spinemamba.protocol.job import RelabelJob
from spinemamba.protocol.result import Result, read_result


def run_relabel(job: RelabelJob, progress: Progress, warn: Warn) -> Result:
    """Name the vertebrae of a run again; write labels and result, or neither.

    Args:
        job: Files, and the levels fixed by the user.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Called with each note about the labels.

    Raises:
        UserError: If an input or an output is not usable, the labels do not belong to the result,
            or no labeling has the fixed levels.
    """
    progress("read", 0.0)
    before = read_result(job.run)
    pins = {
        **dict(before.fixed_levels),
        **match_pins(map(parse_pin, job.fixed_levels), before.instances),
    }
    check_outputs(job)
    spine = read_vertebra_labels(job.input, VERSE)  # runs write VerSe's label values
    check_same_run(spine, before)
    for note in spine.notes:
        warn(note)
    progress("levels", 0.0)
    if job.levels_from is None:
        after = relabel(before, pins)
    else:
        after = relabel_from(before, spine.volume, read_other_scan(job.levels_from), pins)
    new = new_values(before, after)
    progress("write", 0.0)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        write_renamed(spine, new, segments_of(after), partial[job.output])
        if job.result is not None:
            after.write(partial[job.result])
    progress("write", 1.0)
    return after
