"""Settings of the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.remote.server_info import ServerDevice, ServerLimits

GIB = 1 << 30


@dataclass(frozen=True)
class Timeouts:
    """Times in seconds after which the server gives up on a client or a worker.

    Attributes:
        header_s: For the header of a request.
        idle_s: For the next bytes of a request or an answer.
        grace_s: For the start of an upload, before its mean rate counts.
        least_bytes_per_s: Least mean rate of an upload.
        silent_s: For a sign of life of a worker, which normally sends one every two seconds.
        job_s: For a whole job.
    """

    header_s: float = 10.0
    idle_s: float = 30.0
    grace_s: float = 20.0
    least_bytes_per_s: float = 10_000.0
    silent_s: float = 120.0
    job_s: float = 3600.0


@dataclass(frozen=True)
class Rates:
    """Limits against clients that ask too often.

    Attributes:
        requests_per_s: Mean requests of a client; one poll a second for each job is usual.
        burst: Requests at once.
        uploads: Uploads of a client at the same time.
        connections: Connections of all clients at the same time.
        connections_per_address: Of one address; not behind a proxy, which is one address.
        wrong_tokens: Wrong tokens from an address until it is locked out.
        lock_out_s: Time for which it is locked out, and in which wrong tokens are counted.
    """

    requests_per_s: float = 20.0
    burst: float = 60.0
    uploads: int = 4
    connections: int = 512
    connections_per_address: int = 64
    wrong_tokens: int = 10
    lock_out_s: float = 300.0


LIMITS = ServerLimits(
    upload_bytes=2 * GIB,
    # A CT of the whole body has 512 x 512 x 2000.
    voxels=600_000_000,
    queued=100,
    jobs_per_client=20,
    keep_s=3600.0,
    keep_fetched_s=60.0,
)
"""Default limits."""


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        folder: Folder for jobs, the list of jobs and the audit log; only the server may read it.
        devices: Devices; each runs one job at a time.
        models: Name for requests to a name or folder for `find_model`.
        name: Name of the server, shown to clients.
        tokens: File with tokens; None for a server without, which listens on loopback only.
        behind_proxy: Whether a proxy on this computer states addresses of clients.
        hosts: Names in the header ``Host`` that a server without tokens accepts.
        is_tls: Whether answers go over TLS, from here or from the proxy.
        fresh_workers: Whether each job gets a process of its own.
        python: Interpreter of the workers.
        spare_bytes: Room on the disk that an upload must leave.
        limits: Limits for clients.
        timeouts: Times.
        rates: Rates.
    """

    folder: Path
    devices: tuple[ServerDevice, ...] = (ServerDevice("cpu"),)
    models: Mapping[str, str] = field(default_factory=lambda: {DEFAULT: DEFAULT})
    name: str = "SpineMamba"
    tokens: Path | None = None
    behind_proxy: bool = False
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    is_tls: bool = False
    fresh_workers: bool = False
    python: str = sys.executable
    spare_bytes: int = GIB
    limits: ServerLimits = LIMITS
    timeouts: Timeouts = field(default_factory=Timeouts)
    rates: Rates = field(default_factory=Rates)
