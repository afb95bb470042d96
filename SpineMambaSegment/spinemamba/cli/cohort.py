"""``spinemamba cohort IN OUT``: segment many images, with resume, retries and tables."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spinemamba.cli.cohort_arguments import (
    ENGINES,
    add_arguments,
    options_of,
    resources_of,
    words_of,
    workers_of,
)
from spinemamba.cli.console import print_error, print_line, table
from spinemamba.cohort.cluster import PartOfCohort, check_cluster, submit, wait_for_jobs
from spinemamba.cohort.find import find_cases
from spinemamba.cohort.found import FoundCase, Listing, counted
from spinemamba.cohort.other_levels import with_levels_from
from spinemamba.cohort.run import CohortRun, Tally, make_folders
from spinemamba.cohort.state import CaseStates, State
from spinemamba.cohort.tables import check_parquet
from spinemamba.common.errors import Code, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.common.locks import wait_for_lock
from spinemamba.protocol.cohort import DONE, CaseRecord
from spinemamba.protocol.job import DICOM_SEG

__all__ = ["add_arguments", "run"]

Known = Sequence[tuple[FoundCase, State]]

_LONGEST_WAIT_S = 600.0
"""Longest wait for another run that writes the tables and contact sheets."""

_SHOWN = 20
"""Cases and left-out entries that are listed; --dry-run lists all."""


def run(args: argparse.Namespace) -> int:
    """List the cases, run those that remain, and write the tables."""
    if args.parquet:
        check_parquet()
    _check_engine(args)
    _check_extras(args.also)
    options = options_of(args)
    states = CaseStates(args.out, options, retry_failed=args.retry_failed)
    listing = find_cases(args.input, without=args.out)
    if args.levels_from is not None:
        listing = with_levels_from(listing, args.levels_from)
    part = listing if args.part is None else listing.part(*args.part)
    known = [(case, states.known_state(case)) for case in part.cases]
    _print_listing(listing, known, everything=args.dry_run)
    if args.dry_run:
        return ExitCode.DONE
    if not args.overwrite:
        _refuse_changed(known)
    make_folders(args.out)
    if args.engine != ENGINES[0]:
        return _run_jobs(args, listing, states)
    bar = _Progress()
    work = CohortRun(args.out, states, options, workers_of(args), bar.show)
    try:
        tally = work.run(part.cases)
    finally:
        # Also after Ctrl+C: the tables list what is done.
        records, paths = _write(args, listing, states)
    own = {case.name for case in part.cases}
    problems = _print_problems([record for record in records if record.case in own])
    _print_end(tally, bar.seconds)
    for path in paths:
        print_line(f"Wrote {path}")
    return ExitCode.USER_ERROR if tally.failed or problems else ExitCode.DONE


def _run_jobs(args: argparse.Namespace, listing: Listing, states: CaseStates) -> int:
    """Submit the parts to a cluster, wait for them, and write the tables."""
    count = max(1, args.jobs)
    jobs = submit(
        PartOfCohort(tuple(words_of(args)), count), args.out, resources_of(args), args.engine
    )
    print_line(f"Submitted {len(jobs)} jobs: {jobs[0].job_id} and following.")
    problems = wait_for_jobs(jobs, lambda n: print_error(f"{n} of {len(jobs)} jobs ended"))
    for text in problems:
        print_error(text)
    records, paths = _write(args, listing, states)
    for path in paths:
        print_line(f"Wrote {path}")
    incomplete = _print_problems(records)
    failures = sum(record.failure is not None for record in records)
    missing = len(listing.cases) - len(records)
    print_line(
        f"{_cases(len(listing.cases))}: {len(records) - failures} done, "
        f"{failures} failed, {missing} missing"
    )
    return ExitCode.USER_ERROR if incomplete or missing or problems else ExitCode.DONE


def _check_engine(args: argparse.Namespace) -> None:
    """Check the options of jobs of a cluster.

    Raises:
        UserError: If a single part is asked for, or submitit is missing (DEPENDENCY_MISSING).
    """
    if args.engine == ENGINES[0]:
        return
    if args.part is not None:
        raise UserError(
            f"--part is for one process, --engine {args.engine} runs all parts.",
            "Leave out one of them.",
        )
    check_cluster()


def _check_extras(also: list[str]) -> None:
    if DICOM_SEG in also:
        from spinemamba.imaging.dicom_seg_file import highdicom_module

        highdicom_module()


def _refuse_changed(known: Known) -> None:
    """Refuse to replace results that were made differently.

    Raises:
        UserError: If there are any (OUTPUT_BAD).
    """
    changed = [case.name for case, state in known if state is State.CHANGED]
    if changed:
        verb = "was" if len(changed) == 1 else "were"
        raise UserError(
            f"{_cases(len(changed))}, such as {changed[0]}, {verb} done "
            "with another input, model or options, or by another version.",
            "Choose another output folder, or allow replacing these results (--overwrite).",
            Code.OUTPUT_BAD,
        )


def _print_listing(listing: Listing, known: Known, *, everything: bool) -> None:
    """Print what was found, and what remains to do in this part."""
    shown = None if everything else _SHOWN
    rows = [[case.name, case.kind, state.value, case.source] for case, state in known[:shown]]
    print_line(table(("case", "format", "state", "input"), rows))
    _print_rest(len(known), shown)
    print_line(f"{_cases(len(listing.cases))}: {counted([c.kind for c in listing.cases])}")
    if len(known) < len(listing.cases):
        print_line(f"This part: {_cases(len(known))}")
    if named := sum(case.levels_from is not None for case in listing.cases):
        print_line(f"Levels from another scan: {_cases(named)}")
    counts = Counter(state for _, state in known)
    shown_states = (s for s in State if counts[s] or s is not State.CHANGED)
    print_line(", ".join(f"{counts[state]} {state.value}" for state in shown_states))
    for skipped in listing.skipped[:shown]:
        print_line(f"Left out: {skipped.source} ({skipped.reason})")
    _print_rest(len(listing.skipped), shown)


def _print_rest(count: int, shown: int | None) -> None:
    if shown is not None and count > shown:
        print_line(f"... and {count - shown} more; --dry-run lists all")


def _cases(count: int) -> str:
    return f"{count} case" if count == 1 else f"{count} cases"


class _Progress:
    """Prints a line for each case that ends, with the rate and the remaining time."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._ended = 0

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start_s

    def show(self, record: CaseRecord, tally: Tally) -> None:
        """Print a line about a case that ended."""
        self._ended += 1
        per_case_s = self.seconds / self._ended
        left = _clock(per_case_s * (tally.total - tally.ended))
        failures = f", {tally.failed} failed" if tally.failed else ""
        what = (
            f"{record.seconds:.1f} s" if record.state == DONE else f"FAILED {record.failure.code}"
        )
        rest = f"{3600 / max(per_case_s, 1e-3):.0f} cases/h, {left} left{failures}"
        print_error(f"{tally.ended} of {tally.total}  {record.case}  {what}  ({rest})")


def _clock(seconds: float) -> str:
    """Return a time such as 2:05:09 or 5:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _write(
    args: argparse.Namespace, listing: Listing, states: CaseStates
) -> tuple[list[CaseRecord], list[Path]]:
    """Write tables, contact sheets and triage page of all cases, also of other parts.

    Returns:
        The records of the cases, and the paths.
    """
    found = (states.whole_record(case) for case in listing.cases)
    if args.cases_only:
        return [record for record in found if record is not None], []
    from spinemamba.cohort.overview import write_overview  # loads matplotlib

    # The records are read under the lock, so that no run replaces the tables of a later one.
    with wait_for_lock(args.out, _LONGEST_WAIT_S):
        records = [record for record in found if record is not None]
        return records, write_overview(args.out, records, parquet=args.parquet)


def _print_problems(records: list[CaseRecord]) -> int:
    """Print why cases failed and outputs are missing; return the number of these cases."""
    for record in records:
        if record.failure is not None:
            print_error(f"{record.case}: {record.failure.message} {record.failure.remedy}")
        for role, reason in record.missing.items():
            print_error(f"{record.case}: no {role}. {reason}")
    return sum(record.failure is not None or bool(record.missing) for record in records)


def _print_end(tally: Tally, seconds: float) -> None:
    counts = (
        (tally.done, "done now"),
        (tally.before, "done before"),
        (tally.others, "done by another run"),
        (tally.failed, "failed"),
    )
    text = ", ".join(f"{count} {word}" for count, word in counts if count)
    print_line(f"{_cases(tally.total)} in {_clock(seconds)}: {text or 'nothing to do'}")
