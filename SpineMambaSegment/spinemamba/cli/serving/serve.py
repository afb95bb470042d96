"""``spinemamba serve``: run jobs of other computers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from spinemamba.cli.arguments import device, positive_number, whole_number
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.model_card import DEFAULT, bundled_models
from spinemamba.protocol.remote.server_info import ServerDevice
from spinemamba.server.settings import GIB, LIMITS, Settings, Timeouts

_PROBE_S = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", type=Path, help="folder for jobs, their list and the audit log")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument(
        "--port", type=whole_number(0, 65535), default=8642, help="%(default)s; 0 for a free one"
    )
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="token file, made by spinemamba server-token"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate chain")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="private key of it")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="a proxy adds TLS and states addresses of clients in X-Forwarded-For",
    )
    parser.add_argument("--name", default="SpineMamba", help="name shown to clients (%(default)s)")
    parser.add_argument(
        "--device",
        type=device,
        action="append",
        metavar="DEVICE",
        help="'cpu' or a GPU such as 'cuda:1', may be repeated (all GPUs, else the CPU)",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="bundled model, or folder of a model, that is offered; may be repeated, the first is "
        "the default one (all bundled models)",
    )
    _add_limits(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    count = whole_number(1, 100_000)
    add("--max-upload-gb", type=positive_number(1000), default=LIMITS.upload_bytes / GIB)
    add("--max-megavoxels", type=positive_number(1e5), default=LIMITS.voxels / 1e6)
    add("--max-queued", type=count, default=LIMITS.queued, help="jobs in line (%(default)s)")
    add("--max-jobs-per-client", type=count, default=LIMITS.jobs_per_client, help="(%(default)s)")
    minutes = positive_number(1e5)
    add(
        "--keep-minutes", type=minutes, default=LIMITS.keep_s / 60, help="for results (%(default)g)"
    )
    add(
        "--job-minutes", type=minutes, default=Timeouts().job_s / 60, help="for a job (%(default)g)"
    )
    add("--spare-gb", type=positive_number(1e5), default=1.0, help="free disk space to leave")
    add("--fresh-workers", action="store_true", help="a new process for each job, seconds slower")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl+C."""
    try:
        from spinemamba.server.run import Address, serve
    except ModuleNotFoundError as error:
        raise UserError(
            f"The server needs the package {error.name}.",
            "Install the extra: pip install 'spinemamba[server]'.",
            Code.DEPENDENCY_MISSING,
        ) from error
    address = Address(args.host, args.port, args.tls_cert, args.tls_key)
    limits = replace(
        LIMITS,
        upload_bytes=int(args.max_upload_gb * GIB),
        voxels=int(args.max_megavoxels * 1e6),
        queued=args.max_queued,
        jobs_per_client=args.max_jobs_per_client,
        keep_s=args.keep_minutes * 60,
    )
    settings = Settings(
        args.folder.absolute(),
        devices=_devices(args.device),
        models=_models(args.model),
        name=args.name,
        tokens=args.tokens,
        behind_proxy=args.behind_proxy,
        is_tls=args.behind_proxy or args.tls_cert is not None,
        fresh_workers=args.fresh_workers,
        spare_bytes=int(args.spare_gb * GIB),
        limits=limits,
        timeouts=replace(Timeouts(), job_s=args.job_minutes * 60),
    )
    serve(address, settings)
    return 0


def _models(given: list[str] | None) -> dict[str, str]:
    """Return the models by the names for requests; clients do not see folders."""
    if given is None:
        names = bundled_models()
        return {name: name for name in sorted(names, key=lambda name: name != DEFAULT)}
    return {
        name if name in bundled_models() else Path(name).absolute().name: name for name in given
    }


def _devices(given: list[str] | None) -> tuple[ServerDevice, ...]:
    """Return the devices with their names, found by another process: torch takes 400 MB."""
    command = [sys.executable, "-m", "spinemamba", "probe"]
    found = subprocess.run(command, capture_output=True, timeout=_PROBE_S, check=False)
    listed = json.loads(found.stdout)["devices"] if found.returncode == 0 else []
    names = {item["device"]: item["name"] for item in listed}
    if given is None:
        given = [name for name in names if name.startswith("cuda")] or ["cpu"]
    if unknown := [name for name in given if names and name not in names]:
        raise UserError(
            f"The device '{unknown[0]}' is not available on this computer.",
            f"Its devices are: {', '.join(names)}.",
            Code.NO_GPU,
        )
    return tuple(ServerDevice(name, names.get(name, "")) for name in dict.fromkeys(given))
