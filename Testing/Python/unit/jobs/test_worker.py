"""Events, cancelling and log of the worker process."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from spinemamba.common.errors import Cancelled
from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.worker_client import without_names
from spinemamba.worker import Channel


class Broken(io.StringIO):
    """A pipe with a closed reader."""

    def flush(self) -> None:
        raise BrokenPipeError


def said(out: io.StringIO) -> list[events.Event]:
    return [events.from_line(line) for line in out.getvalue().splitlines()]


def test_no_event_follows_the_final_event():
    out = io.StringIO()
    channel = Channel(out)
    channel.send(events.Finished("a", "", 1.0))
    channel.progress("write", 1.0)
    channel.warn("too late")
    assert said(out) == [events.Finished("a", "", 1.0)]


def test_the_heartbeat_repeats_the_last_progress(monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    channel = Channel(out)
    channel.progress("locate", 0.5)
    waits = iter([False, False, True])
    monkeypatch.setattr(channel.cancelled, "wait", lambda seconds: next(waits))
    channel.beat()
    assert said(out) == [events.Progress("locate", 0.5, pytest.approx(0.15))] * 3


def test_a_parent_that_no_longer_reads_stops_the_run():
    channel = Channel(Broken())
    channel.progress("read", 0.0)
    with pytest.raises(Cancelled):
        channel.progress("read", 0.5)


@pytest.mark.parametrize(
    "sent",
    [b'{"cmd": "cancel"}\n', b'chatter\n{"cmd": "can', b""],
    ids=["command", "half a command and the end", "the end"],
)
def test_a_cancel_command_or_the_end_of_stdin_stops_the_run(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
):
    pieces = [sent[:5], sent[5:], b""]
    monkeypatch.setattr(os, "read", lambda handle, size: pieces.pop(0))
    channel = Channel(io.StringIO())
    channel.listen()
    assert channel.cancelled.is_set()


def test_a_command_stops_the_run_before_stdin_ends(monkeypatch: pytest.MonkeyPatch):
    pieces = [json.dumps({"cmd": "sing"}).encode() + b"\n", b'{"cmd": "can', b'cel"}\n']
    monkeypatch.setattr(os, "read", lambda handle, size: pieces.pop(0))
    channel = Channel(io.StringIO())
    channel.listen()
    assert channel.cancelled.is_set()
    assert pieces == []


def test_a_process_that_stays_gets_further_jobs(monkeypatch: pytest.MonkeyPatch):
    lines = [
        b'{"cmd": "run", "job": "a.json"}\nchatter\n[1]\n{"cmd": "run", "job":',
        b' "b.json"}\n',
    ]
    pieces = [*lines, b""]
    monkeypatch.setattr(os, "read", lambda handle, size: pieces.pop(0))
    out = io.StringIO()
    channel = Channel(out)
    channel.send(events.Finished("a", "", 1.0))
    channel.listen()
    assert [channel.next_job() for _ in range(3)] == [Path("a.json"), Path("b.json"), None]
    # The events of the next job follow the last event of the job before.
    channel.warn("next")
    assert said(out) == [events.Finished("a", "", 1.0), events.Warning("next")]


def test_only_partial_files_of_this_process_are_deleted(tmp_path: Path):
    (tmp_path / "reports").mkdir()
    job = SegmentJob(
        tmp_path / "in.nrrd", tmp_path / "a.nrrd", result=tmp_path / "reports" / "r.json"
    )
    mine = [tmp_path / ".spinemamba-ab-12-x", tmp_path / "reports" / ".spinemamba-ab-12-y"]
    others = [tmp_path / ".spinemamba-ab-123-z", tmp_path / "in.nrrd", tmp_path / "a.nrrd"]
    for path in mine + others[:1]:
        path.mkdir()
        (path / "0.nrrd").touch()
    for path in others[1:]:
        path.touch()
    job.remove_partial(12)
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("open('/scans/Doe/ct.nii') failed", "open('<file>') failed"),
        ("cannot read ct.nii, line 3", "cannot read <file>, line 3"),
        ("'/scans/Doe' holds .spinemamba-12-ct.nii", "'<file>' holds .spinemamba-12-<file>"),
        (
            "act.nii is another file in run/labels.nrrd",
            "act.nii is another file in run/labels.nrrd",
        ),
    ],
)
def test_file_names_are_removed_from_a_log(text: str, kept: str):
    files = (Path("/scans/Doe/ct.nii"), Path("run/labels.nrrd"))
    assert without_names(text, files, Path("run")) == kept
