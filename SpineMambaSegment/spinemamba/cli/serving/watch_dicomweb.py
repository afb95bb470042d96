"""``spinemamba watch-dicomweb URL``: segment series of an archive, by DICOMweb."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import positive_number, whole_number
from spinemamba.cli.console import print_error, print_line, table
from spinemamba.common.errors import Code, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.protocol.job import DEVICES, PRECISIONS, QUALITIES
from spinemamba.protocol.model_card import DEFAULT

if TYPE_CHECKING:
    from spinemamba.pacs.dicomweb import DicomWeb
    from spinemamba.pacs.series_run import Outcome, SeriesRun
    from spinemamba.protocol.remote.site import Site

_HEADS = ("series", "state", "folder", "levels or reason")
_END_S = 1.0
"""Time in seconds for an idle worker to end by itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "url", help="root of the DICOMweb service, such as https://host:8043/dicom-web"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="keep labels, result.json, picture and DICOM SEG of each series in a folder in DIR",
    )
    parser.add_argument(
        "--store", action="store_true", help="store each DICOM SEG in the archive (STOW-RS)"
    )
    _add_choice(parser)
    _add_access(parser)
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--quality", choices=QUALITIES, default="standard")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument(
        "--measurements", action="store_true", help="with --output: also measure, with a report"
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add which series are segmented, and when."""
    parser.add_argument("--study", metavar="UID", help="segment the series of this study, and stop")
    parser.add_argument("--series", metavar="UID", help="with --study: only this series")
    parser.add_argument(
        "--modality", nargs="+", choices=("CT", "MR"), default=["CT", "MR"], help="of the series"
    )
    parser.add_argument(
        "--once", action="store_true", help="search once, do not wait for further images, and stop"
    )
    parser.add_argument(
        "--days",
        type=whole_number(0, 36500),
        default=1,
        help="watch studies of today and of this many days before (%(default)s)",
    )
    for name, default, text in (
        ("interval", 30.0, "seconds between two searches"),
        ("settle", 60.0, "seconds without new images after which a series is complete"),
    ):
        parser.add_argument(
            f"--{name}",
            type=positive_number(86400, " of seconds"),
            default=default,
            metavar="S",
            help=f"{text} (%(default)s)",
        )


def _add_access(parser: argparse.ArgumentParser) -> None:
    """Add how the archive is reached."""
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file whose first line is a bearer token"
    )
    secret.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file whose first line is user:password"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust (PEM)")
    parser.add_argument(
        "--attempts",
        type=whole_number(1, 20),
        default=5,
        help="attempts at each request, with growing waits (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Segment the series of a study, or watch the archive."""
    if args.output is None and not args.store:
        raise UserError(
            "The results would go nowhere.", "Add --output DIR, --store, or both.", Code.OUTPUT_BAD
        )
    if args.series is not None and args.study is None:
        raise UserError("--series needs the study of the series.", "Add --study UID.")
    from spinemamba.imaging.dicom_seg_file import highdicom_module

    highdicom_module()
    with _prepared(args) as (archive, series_run):
        if args.study is not None:
            return _run_study(args, archive, series_run)
        return _watch(args, archive, series_run)


@contextmanager
def _prepared(args: argparse.Namespace) -> Iterator[tuple[DicomWeb, SeriesRun]]:
    """Yield the archive, and what segments a series; the worker process ends afterwards."""
    from spinemamba.common.scratch import scratch
    from spinemamba.imaging.write import make_folder
    from spinemamba.pacs.dicomweb import DicomWeb
    from spinemamba.pacs.options import SeriesOptions
    from spinemamba.pacs.series_run import SeriesRun
    from spinemamba.protocol import events
    from spinemamba.protocol.pipeline_client import PipelineWorker
    from spinemamba.protocol.remote.http_connection import Connection
    from spinemamba.protocol.remote.retries import Retries

    options = SeriesOptions(
        args.model, args.device, args.quality, args.precision, args.measurements
    )
    options.check()
    connection = Connection(_site(args))
    work = Path(tempfile.gettempdir()) if args.output is None else args.output.absolute()
    if args.output is not None:
        make_folder(args.output)
    with connection, scratch(work) as hidden:
        archive = DicomWeb(connection, Retries(args.attempts))
        log = hidden / "log" if args.output is None else work / "worker.log"
        worker = PipelineWorker(hidden / "worker", log, ahead=1)
        parts = (archive, options, args.output and work, args.store, worker, hidden, print_error)
        try:
            yield archive, SeriesRun(*parts)
        finally:
            worker.stop(events.GRACE_S if worker.is_busy else _END_S)


def _site(args: argparse.Namespace) -> Site:
    """Return the archive's address with the credentials."""
    from spinemamba.protocol.remote import credentials
    from spinemamba.protocol.remote.site import Site

    def warn(text: str) -> None:
        print_error(f"Warning: {text}")

    secret = ""
    if args.token_file is not None:
        secret = credentials.bearer(args.token_file, warn)
    elif args.password_file is not None:
        secret = credentials.basic(args.password_file, warn)
    site = Site(args.url, secret, args.ca_file)
    if not site.is_encrypted and not site.is_local:
        warn(f"the images come from {site.host} without encryption.")
    return site


def _run_study(args: argparse.Namespace, archive: DicomWeb, series_run: SeriesRun) -> int:
    """Segment the series of a study, print a table, and return the exit code."""
    found = archive.series(args.study)
    if not found:
        raise UserError("The archive has no such study.", "Check the UID.")
    chosen = [s for s in found if s.uid == args.series] if args.series else found
    if not chosen:
        raise UserError("The study has no such series.", "Check the UID.")
    if not args.series:
        chosen = [s for s in chosen if s.modality in args.modality]
    outcomes = [series_run.run(series) for series in chosen]
    return _end(outcomes)


def _watch(args: argparse.Namespace, archive: DicomWeb, series_run: SeriesRun) -> int:
    """Watch the archive until Ctrl+C, or search once."""
    from spinemamba.pacs.watch import Watch, WatchOptions

    options = WatchOptions(
        args.days, tuple(args.modality), args.interval, 0.0 if args.once else args.settle
    )
    outcomes: list[Outcome] = []
    problems: list[UserError] = []

    def show(outcome: Outcome) -> None:
        if args.once:
            outcomes.append(outcome)
        print_line(f"{time.strftime('%H:%M:%S')}  {'  '.join(_row(outcome))}")

    def problem(error: UserError) -> None:
        problems.append(error)
        print_error(f"{time.strftime('%H:%M:%S')}  {error}")

    watch = Watch(archive, series_run, options, show, problem)
    if not args.once:
        print_error(f"Watching for new series every {args.interval:g} s; stop with Ctrl+C")
        watch.forever()
    watch.once()
    if problems:
        raise problems[0]
    return _end(outcomes)


def _end(outcomes: Sequence[Outcome]) -> int:
    """Print a table; return the exit code."""
    from spinemamba.pacs.series_run import FAILED

    if not outcomes:
        print_line("No series of CT or MR to segment.")
        return ExitCode.DONE
    print_line(table(_HEADS, [_row(outcome) for outcome in outcomes]))
    failed = any(outcome.state == FAILED for outcome in outcomes)
    return ExitCode.USER_ERROR if failed else ExitCode.DONE


def _row(outcome: Outcome) -> list[str]:
    code = f"{outcome.code}: " if outcome.code else ""
    return [outcome.label, outcome.state, outcome.name, f"{code}{outcome.detail}"]
