"""``spinemamba segment INPUT OUTPUT``: label every vertebra of a volume."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import (
    add_levels_from,
    add_overwrite,
    add_pins,
    add_server,
    add_shape_options,
    server_of,
    split_name,
)
from spinemamba.cli.console import (
    VERTEBRA_HEADS,
    ProgressBar,
    print_error,
    print_line,
    result_rows,
    table,
)
from spinemamba.common.errors import UserError
from spinemamba.common.progress import SEND
from spinemamba.protocol.job import DEVICES, MODALITIES, PRECISIONS, QUALITIES, SegmentJob
from spinemamba.protocol.model_card import DEFAULT

if TYPE_CHECKING:
    from spinemamba.jobs.segment import RunFiles
    from spinemamba.protocol.remote.site import Site

PARTS = "parts"
BESIDE = Path("beside the output")
"""Value of ``--report`` without a folder; compared by identity."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", type=Path, help="NRRD, NIfTI or MetaImage file, or DICOM folder")
    parser.add_argument("output", type=Path, help=".seg.nrrd (names, colours), .nii.gz, .nrrd")
    parser.add_argument(
        "--report",
        type=Path,
        nargs="?",
        const=BESIDE,
        metavar="DIR",
        help="also write result.json and a picture, beside the output or into DIR",
    )
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--modality", choices=MODALITIES, default="auto")
    parser.add_argument("--quality", choices=QUALITIES, default="standard")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of convolutions; float32 gives the same labels on every processor (%(default)s)",
    )
    add_shape_options(parser)
    _add_also(parser)
    add_pins(parser)
    add_levels_from(parser)
    add_overwrite(parser)
    add_server(parser)


def _add_also(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--also",
        nargs="+",
        choices=(PARTS,),
        default=[],
        help="further outputs, beside the output: parts divides the vertebrae as the command parts",
    )


def run(args: argparse.Namespace) -> int:
    """Segment a volume and print a table of its vertebrae."""
    result, picture = report_paths(args.output, args.report)
    parts = _parts_path(args.output) if PARTS in args.also else None
    if parts is not None:
        from spinemamba.imaging.write import check_output

        check_output(parts, overwrite=args.overwrite)
    job = SegmentJob(
        args.input,
        args.output,
        result,
        picture,
        model=args.model,
        device=args.device,
        modality=args.modality,
        quality=args.quality,
        precision=args.precision,
        fixed_levels=tuple(args.pin),
        keep_pieces=args.keep_pieces,
        fine_slices=args.fine_slices,
        levels_from=args.levels_from,
        overwrite=args.overwrite,
    )
    site = server_of(args, warn=lambda text: print_error(f"Warning: {text}"))
    files = run_with_progress_bar(job) if site is None else _run_on_server(job, site)
    print_line(table(VERTEBRA_HEADS, result_rows(files.result_data)))
    if parts is not None:
        _write_parts(files, parts)
    for path in filter(None, (files.labels, files.result, files.picture, parts)):
        print_line(f"Wrote {path}")
    print_line(f"In Slicer, open {args.input} and over it {files.labels}.")
    return 0


def run_with_progress_bar(job: SegmentJob) -> RunFiles:
    """Run a job with a progress bar."""
    from spinemamba.common.process_tuning import keep_freed_memory

    with ProgressBar() as bar:
        # Before the libraries are loaded, which takes seconds.
        bar("read", 0.0)
        from spinemamba.jobs.segment import run_job

        keep_freed_memory()
        return run_job(job, bar, bar.warn)


def _run_on_server(job: SegmentJob, site: Site) -> RunFiles:
    """Run a job on a server with a progress bar.

    Raises:
        UserError: If a device was chosen, which is a matter of the server; as `run_on_server`.
    """
    if job.device != "auto":
        raise UserError(
            f"The server chooses the device, not --device {job.device}.", "Leave out --device."
        )
    with ProgressBar() as bar:
        bar.show(SEND, 0.0)
        from spinemamba.jobs.on_server import run_on_server

        def progress(stage: str, fraction: float, overall: float) -> None:
            bar.show(stage, overall)

        return run_on_server(job, site, progress, bar.warn, bar.say)


def _parts_path(output: Path) -> Path:
    """Return the path of the parts: that of the labels with ``_parts`` after the name."""
    stem, suffix = split_name(output)
    return output.with_name(f"{stem}_{PARTS}{suffix}")


def _write_parts(files: RunFiles, path: Path) -> None:
    """Divide the labels of a run that has just ended into parts."""
    from spinemamba.imaging.read import read_labels
    from spinemamba.jobs.parts import write_parts
    from spinemamba.labelmaps.same_run import cuts_by_place
    from spinemamba.parts.spine import divide_spine

    labels = read_labels(files.labels)
    write_parts(divide_spine(labels, cuts_by_place(files.result_data, labels)), path)


def report_paths(output: Path, report: Path | None) -> tuple[Path | None, Path | None]:
    """Return the paths of result.json and of the picture, named after the output."""
    if report is None:
        return None, None
    folder = output.parent if report is BESIDE else report
    stem, _ = split_name(output)
    return folder / f"{stem}_result.json", folder / f"{stem}_report.png"
