"""Everything that the routes of the server share."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from spinemamba import __version__
from spinemamba.common.errors import UserError
from spinemamba.protocol.model_card import find_model, read_card
from spinemamba.protocol.remote.formats import (
    IMAGE_ENDINGS,
    REQUEST,
    Capabilities,
)
from spinemamba.protocol.remote.server_info import ServerModel
from spinemamba.server.audit import AuditLog
from spinemamba.server.device_thread import DeviceThread
from spinemamba.server.errors import RefusedError
from spinemamba.server.jobs import Jobs
from spinemamba.server.metrics import Metrics
from spinemamba.server.rate_limits import LockOut, RateLimit
from spinemamba.server.settings import Settings
from spinemamba.server.tokens import TokenFile

LOCAL = "local"
"""Name of every client of a server without tokens."""

_SWEEP_S = 2.0
_STOP_S = 20.0


@dataclass
class Service:
    """The state of a running server; create it with `make`, before `start`.

    Attributes:
        settings: Settings.
        jobs: All jobs.
        audit: The audit log.
        metrics: Counters.
        tokens: The token file; None for a server without tokens.
        rate: Limit of requests by client.
        lock_out: Lock-out of addresses.
        models: Models that are offered.
        devices: Threads of the devices.
    """

    settings: Settings
    jobs: Jobs
    audit: AuditLog
    metrics: Metrics
    tokens: TokenFile | None
    rate: RateLimit
    lock_out: LockOut
    models: tuple[ServerModel, ...]
    devices: list[DeviceThread]
    stopping: threading.Event

    @classmethod
    def make(cls, settings: Settings) -> Service:
        """Return a service; earlier jobs are taken over.

        Raises:
            UserError: If a model or the token file is not usable.
            sqlite3.Error, OSError: If the folder cannot be used.
        """
        audit, metrics = AuditLog(settings.folder / "audit.log"), Metrics()
        models = tuple(_model(name, place) for name, place in settings.models.items())
        tokens = None if settings.tokens is None else TokenFile(settings.tokens)
        if tokens is not None:
            tokens.current()
        jobs = Jobs(settings, audit, metrics)
        threads = [DeviceThread(item.device, jobs, settings) for item in settings.devices]
        rate, lock_out = RateLimit(settings.rates), LockOut(settings.rates)
        stopping = threading.Event()
        return cls(
            settings, jobs, audit, metrics, tokens, rate, lock_out, models, threads, stopping
        )

    def start(self) -> None:
        """Start the threads."""
        for thread in self.devices:
            thread.start()
        threading.Thread(target=self._sweep, name="expiry", daemon=True).start()

    def stop(self) -> None:
        """Stop running jobs, which are in line again after a restart, and end the threads."""
        self.stopping.set()
        self.jobs.close()
        for thread in self.devices:
            if thread.is_alive():
                thread.join(_STOP_S)
        self.jobs.close_store()

    def client_of(self, token: str | None, address: str) -> str:
        """Return the client of a request.

        Args:
            token: Token of the request; None if it has none.
            address: Address that it came from.

        Raises:
            RefusedError: If the token is missing or wrong (UNAUTHORIZED), the address is locked
                out or the client asks too often (TOO_MANY), or the token file is damaged (BUSY).
        """
        client = LOCAL if self.tokens is None else self._named(token, address)
        if wait_s := self.rate.wait_s(client):
            self.metrics.count("rate_limited")
            raise _too_often(wait_s)
        return client

    def _named(self, token: str | None, address: str) -> str:
        try:
            listed = self.tokens.current()
        except UserError as error:
            message = "The server cannot read its list of tokens."
            raise RefusedError("BUSY", message, "Tell its administrator.", 30.0) from error
        client = None if token is None else listed.name_of(token)
        is_known = client is not None and self.lock_out.is_known(address, client)
        if not is_known and (locked_s := self.lock_out.locked_s(address)):
            raise _locked_out(locked_s)
        if client is not None:
            self.lock_out.right(address, client)
            return client
        if token is not None:
            self.metrics.count("wrong_tokens")
            self.audit.add("wrong token", address=address)
            if self.lock_out.wrong(address):
                self.metrics.count("locked_out")
                self.audit.add("locked out", address=address)
        raise RefusedError(
            "UNAUTHORIZED",
            "The token is missing or not valid on this server.",
            "Ask the administrator of the server for a token.",
        )

    def capabilities(self, client: str) -> Capabilities:
        """Return what the server is and can do."""
        queued, running = self.jobs.counts()
        return Capabilities(
            server=self.settings.name,
            client=client,
            version=__version__,
            kinds=tuple(REQUEST.kind),
            models=self.models,
            devices=self.settings.devices,
            limits=self.settings.limits,
            image_endings=IMAGE_ENDINGS,
            queued=queued,
            running=running,
        )

    def check_model(self, name: str) -> None:
        """Check that a model is offered; an empty name stands for work without one.

        Raises:
            RefusedError: If it is not (INPUT_BAD).
        """
        if name and name not in self.settings.models:
            names = ", ".join(self.settings.models)
            message = "The server does not offer the requested model."
            raise RefusedError("INPUT_BAD", message, f"It offers: {names}.")

    def metrics_text(self) -> str:
        """Return all counters and present values for Prometheus."""
        queued, running = self.jobs.counts()
        return self.metrics.text(
            {
                "jobs_queued": ("Jobs in line.", queued),
                "jobs_running": ("Jobs that run.", running),
                "devices": (
                    "Devices whose thread is alive.",
                    sum(t.is_alive() for t in self.devices),
                ),
                "audit_lines_lost": (
                    "Lines of the audit log lost to a full disk.",
                    self.audit.lost,
                ),
            }
        )

    def _sweep(self) -> None:
        while not self.stopping.wait(_SWEEP_S):
            self.jobs.expire()


def _model(name: str, place: str) -> ServerModel:
    card = read_card(find_model(place))
    return ServerModel(name, card.name, card.version, card.hash())


def _too_often(wait_s: float) -> RefusedError:
    return RefusedError(
        "TOO_MANY", "The client asks too often.", "Ask again later.", max(0.1, round(wait_s, 1))
    )


def _locked_out(locked_s: float) -> RefusedError:
    return RefusedError(
        "TOO_MANY",
        "There were too many wrong tokens from this address.",
        "Wait, and check the token.",
        round(locked_s, 1),
    )
