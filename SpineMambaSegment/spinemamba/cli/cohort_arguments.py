"""Arguments of ``spinemamba cohort``, and what they stand for."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from spinemamba.cli.arguments import add_overwrite, add_shape_options, whole_number
from spinemamba.cohort.cluster import Resources
from spinemamba.cohort.run import WorkerOptions
from spinemamba.cohort.state import CohortOptions
from spinemamba.protocol.job import (
    COHORT_EXTRAS,
    DEVICES,
    MODALITIES,
    NTH_GPU,
    PRECISIONS,
    QUALITIES,
)
from spinemamba.protocol.model_card import DEFAULT, model_elsewhere

ENGINES = ("local", "slurm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "input",
        help="folder tree (NIfTI, NRRD, MetaImage, DICOM series, BIDS), .csv table with the "
        "columns image, case, modality and levels_from, or a quoted pattern such as "
        "'data/**/ct.nii.gz'",
    )
    parser.add_argument("out", type=Path, help="output folder; a run that stopped continues there")
    parser.add_argument(
        "--also",
        nargs="+",
        choices=COHORT_EXTRAS,
        default=[],
        help="further outputs of each case: surfaces, DICOM SEG where the input is DICOM, and "
        "labels as NIfTI",
    )
    parser.add_argument(
        "--no-measurements",
        action="store_true",
        help="leave out measurements and the HTML report of each case",
    )
    parser.add_argument("--parquet", action="store_true", help="also write cohort.parquet")
    parser.add_argument(
        "--cases-only",
        action="store_true",
        help="write no tables and contact sheets, which a last run of the same command does",
    )
    _add_order_options(parser)
    _add_model_options(parser)


def _add_order_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about which cases run."""
    parser.add_argument("--dry-run", action="store_true", help="list the cases, and stop")
    parser.add_argument(
        "--part", type=_part, metavar="I/N", help="work on part I of N, from 1/N to N/N"
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="try cases again whose input could not be read or showed no spine",
    )
    add_overwrite(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the networks, and where they run."""
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--modality", choices=MODALITIES, default="auto")
    parser.add_argument("--quality", choices=QUALITIES, default="standard")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    add_shape_options(parser)
    parser.add_argument(
        "--levels-from",
        type=Path,
        metavar="DIR",
        help="take the levels of each case from another scan of the same patient: an earlier "
        "output folder, or a folder with labels or results that have the names of the cases; a "
        "table can name them in the column levels_from",
    )
    parser.add_argument(
        "--device",
        nargs="+",
        type=_device,
        default=["auto"],
        help="device of the networks; several, such as cuda:0 cuda:1, get a worker process each",
    )
    _add_cluster_options(parser)
    parser.add_argument(
        "--workers",
        type=whole_number(1, 64),
        default=1,
        help="worker processes on the CPU, which share its cores; each needs about 2 GB "
        "(%(default)s)",
    )


def _add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of jobs of a cluster."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="this computer, or an array of Slurm jobs, one for each part (%(default)s)",
    )
    of_job = Resources()
    most = whole_number(0, 100_000)
    for name, default, text in (
        ("jobs", 1, "number of jobs"),
        ("job-minutes", of_job.minutes, "time limit of a job; it is requeued afterwards"),
        ("job-memory-gb", of_job.memory_gb, "memory of a job"),
        ("job-cores", of_job.cores, "CPU cores of a job"),
        ("job-gpus", of_job.gpus, "GPUs of a job"),
        ("jobs-at-once", of_job.at_once, "most jobs at the same time, 0 for no limit"),
    ):
        parser.add_argument(f"--{name}", type=most, default=default, help=f"{text} (%(default)s)")
    parser.add_argument("--partition", default="", help="partition of the cluster")


def options_of(args: argparse.Namespace) -> CohortOptions:
    """Return the options that decide the outputs."""
    return CohortOptions(
        args.model,
        args.modality,
        args.quality,
        args.precision,
        measurements=not args.no_measurements,
        also=tuple(sorted(set(args.also))),
        keep_pieces=args.keep_pieces,
        fine_slices=args.fine_slices,
    )


def resources_of(args: argparse.Namespace) -> Resources:
    """Return what each job of a cluster gets."""
    return Resources(
        args.job_minutes,
        args.job_memory_gb,
        args.job_cores,
        args.job_gpus,
        args.partition,
        args.jobs_at_once,
    )


def words_of(args: argparse.Namespace) -> list[str]:
    """Return the arguments of a part, which a job runs in another working directory."""
    source = args.input
    if not Path(source).is_absolute():
        source = str(Path.cwd() / source)
    words = [source, str(args.out.absolute()), "--model", model_elsewhere(args.model)]
    for name in ("modality", "quality", "precision"):
        words += [f"--{name}", getattr(args, name)]
    words += ["--device", *args.device, "--workers", str(args.workers), "--cases-only"]
    words += ["--also", *args.also] if args.also else []
    if args.levels_from is not None:
        words += ["--levels-from", str(args.levels_from.absolute())]
    flags = ("no_measurements", "keep_pieces", "fine_slices", "overwrite", "retry_failed")
    return words + [f"--{name.replace('_', '-')}" for name in flags if getattr(args, name)]


def _part(text: str) -> tuple[int, int]:
    """Return the number of a part and of all parts.

    Raises:
        ArgumentTypeError: If the text is not such as 2/5.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"'{text}' is not a part such as 2/5")
    return number, count


def _device(text: str) -> str:
    """Return a device.

    Raises:
        ArgumentTypeError: If there is no such kind of device.
    """
    if text not in DEVICES and not re.fullmatch(NTH_GPU, text):
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(DEVICES)}, cuda:1")
    return text


def workers_of(args: argparse.Namespace) -> WorkerOptions:
    """Return the devices and the threads of the workers."""
    if len(args.device) > 1:
        return WorkerOptions(tuple(args.device))
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    threads = max(1, cores // args.workers) if args.workers > 1 else 0
    return WorkerOptions(tuple(args.device) * args.workers, threads)
