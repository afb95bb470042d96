"""Models, devices and limits of a server. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from spinemamba.common.json_schema import Limits

Count = Annotated[int, Limits(0)]
Seconds = Annotated[float, Limits(0)]


@dataclass(frozen=True)
class ServerModel:
    """A model that the server offers.

    Attributes:
        name: Name for requests.
        title: Name in the model's card.
        version: Version of its weights.
        hash: Short hash of its weights.
    """

    name: str
    title: str
    version: str
    hash: str


@dataclass(frozen=True)
class ServerDevice:
    """A device that runs one job at a time.

    Attributes:
        device: Such as "cuda:0" or "cpu".
        name: Name of the hardware; empty if it is not known.
    """

    device: str
    name: str = ""


@dataclass(frozen=True)
class ServerLimits:
    """Limits of the server.

    Attributes:
        upload_bytes: Largest request, with all files.
        voxels: Most voxels of an image.
        queued: Most jobs in line.
        jobs_per_client: Most jobs of one client that are in line, run, or wait to be fetched.
        keep_s: Time for which a result is kept if it is not fetched.
        keep_fetched_s: Time for which it is kept after it was fetched.
    """

    upload_bytes: Count
    voxels: Count
    queued: Count
    jobs_per_client: Count
    keep_s: Seconds
    keep_fetched_s: Seconds
