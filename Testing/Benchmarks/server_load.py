"""Many clients of one server at once: lost jobs, response time of polls, memory of the server.

The workers are stand-ins that keep one processor busy for a given time and return the image, so
that each client can compare its result with what it sent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from server_process import Answer, RunningServer, nrrd

from spinemamba.protocol.remote.formats import ENDED, JOBS

_SIDES = (24, 48, 64, 96, 160, 200)
"""Voxels along an axis: 28 kB to 16 MB."""

_CANCELLED = 0.1
"""Share of jobs that are cancelled."""


@dataclass
class Tally:
    """What the clients have seen.

    Attributes:
        polls_s: Response times of polls while a job of the client was in line or ran.
        done: Jobs whose result was right.
        cancelled: Jobs that were cancelled.
        busy: Refusals because of a full line or too many requests.
        wrong: Everything that must not happen.
        bytes: Bytes sent.
        ids: Jobs by client, which the others try to read.
    """

    polls_s: list[float] = field(default_factory=list)
    done: int = 0
    cancelled: int = 0
    busy: int = 0
    wrong: list[str] = field(default_factory=list)
    bytes: int = 0
    ids: dict[str, str] = field(default_factory=dict)


def main(words: list[str]) -> int:
    """Run the clients, and print the figures as JSON; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="server_load", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--job-seconds", type=float, default=0.5, help="computing time of a job")
    parser.add_argument("--poll-seconds", type=float, default=0.5)
    args = parser.parse_args(words)
    names = tuple(f"client-{k}" for k in range(args.clients))
    tally, memory_mb = Tally(), []
    with tempfile.TemporaryDirectory() as folder:
        options = {"devices": args.devices, "rates": {}}
        with RunningServer(Path(folder) / "server", options, names) as server:
            end_s = time.monotonic() + 60 * args.minutes
            threads = [
                threading.Thread(
                    target=_Client(server, name, tally, args, random.Random(name)).run,
                    args=(end_s,),
                )
                for name in names
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                memory_mb.append(_resident_mb(server.process.pid))
                time.sleep(1)
            left = {"files": len(server.files()), "workers": len(server.children())}
    _print(args, tally, memory_mb, left)
    return int(bool(tally.wrong or left["files"]))


@dataclass
class _Client:
    """One client.

    Attributes:
        server: The server.
        name: Name of its token.
        tally: What all clients have seen.
        args: Arguments of the measurement.
        chosen: Its random choices.
    """

    server: RunningServer
    name: str
    tally: Tally
    args: argparse.Namespace
    chosen: random.Random

    def run(self, end_s: float) -> None:
        """Send jobs one after the other until the time is over."""
        order, tally = f"segment busy={self.args.job_seconds}", self.tally
        while time.monotonic() < end_s:
            image = nrrd(self.chosen.randrange(2**60), self.chosen.choice(_SIDES))
            sent = self.server.send(order, client=self.name, image=image)
            if sent.status in (429, 503):
                tally.busy += 1
                time.sleep(1)
                continue
            if sent.status != 201:
                tally.wrong.append(f"upload: {sent.status}")
                continue
            tally.bytes += len(image)
            tally.ids[self.name] = sent.json["id"]
            self._follow(sent.json["id"], image)

    def _ask(self, method: str, path: str) -> Answer:
        return self.server.ask(method, path, self.name)

    def _follow(self, job: str, image: bytes) -> None:
        """Poll a job to its end, and check its result."""
        tally, chosen = self.tally, self.chosen
        stop_s = time.monotonic() + (chosen.uniform(0, 5) if chosen.random() < _CANCELLED else 1e9)
        while True:
            start_s = time.monotonic()
            answer = self._ask("GET", f"{JOBS}/{job}")
            tally.polls_s.append(time.monotonic() - start_s)
            if answer.status != 200:
                tally.wrong.append(f"poll: {answer.status}")
                return
            if answer.json["state"] in ENDED or time.monotonic() > stop_s:
                break
            time.sleep(self.args.poll_seconds)
        self._spy()
        if answer.json["state"] == "done":
            got = self._ask("GET", f"{JOBS}/{job}/result/labels")
            if got.body == image:
                tally.done += 1
            else:
                tally.wrong.append(f"result: {got.status}")
        elif answer.json["state"] in ENDED:
            tally.wrong.append(f"job: {answer.json['failure']}")
        else:
            tally.cancelled += 1
        if (status := self._ask("DELETE", f"{JOBS}/{job}").status) != 204:
            tally.wrong.append(f"erase: {status}")

    def _spy(self) -> None:
        """Try to read or erase a job of another client."""
        other, job = self.chosen.choice(list(self.tally.ids.items()))
        if other != self.name:
            method, end = self.chosen.choice([("GET", ""), ("GET", "/result"), ("DELETE", "")])
            if self._ask(method, f"{JOBS}/{job}{end}").status != 404:
                self.tally.wrong.append(f"{self.name} reached a job of {other}")


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _print(
    args: argparse.Namespace, tally: Tally, memory_mb: list[float], left: dict[str, int]
) -> None:
    polls_ms = 1000 * np.array(tally.polls_s)
    figures = {
        **vars(args),
        "jobs_done": tally.done,
        "jobs_cancelled": tally.cancelled,
        "refused_as_busy": tally.busy,
        "wrong": tally.wrong,
        "sent_mb": round(tally.bytes / 1e6),
        "polls": len(polls_ms),
        "poll_ms": {
            f"p{p}": round(float(np.percentile(polls_ms, p)), 1) for p in (50, 95, 99, 100)
        },
        "memory_mb_by_tenth": [
            round(float(np.mean(part)), 1) for part in np.array_split(memory_mb, 10) if len(part)
        ],
        "left": left,
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
