"""Events and jobs are unchanged after writing and reading, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spinemamba.common.errors import UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import JOB, FileJob, FollowUpJob, MeasureJob, SegmentJob, read_job

HEAD = '"schema": 2, "kind": "segment"'
EVENTS = [
    events.Hello(1, "0.1.0", 42),
    events.Progress("segment", 0.5, 0.4),
    events.Warning("Mind the gap."),
    events.Finished("labels.nrrd", "", 3.5),
    events.Failed("INPUT_BAD", "Dünn.", "Try again."),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_unchanged_after_writing_and_reading(event: events.Event):
    line = events.to_line(event)
    assert line.count("\n") == 1
    assert events.from_line(line) == event


def test_unknown_entries_of_an_event_are_ignored():
    line = json.dumps({"type": "warning", "message": "Hm.", "volume_db": 11})
    assert events.from_line(line) == events.Warning("Hm.")


@pytest.mark.parametrize("line", ["", "chatter", "[1]", '{"type": "song"}', '{"type": "hello"}'])
def test_a_line_that_is_not_an_event_is_refused(line: str):
    with pytest.raises(ValueError, match="not an event"):
        events.from_line(line)


HEADS = ((80.0, -12.5, -41.0), (-90.0, -10.0, -40.0))


@pytest.mark.parametrize(
    "job",
    [
        SegmentJob(Path("in.nii.gz"), Path("out.nrrd"), result=Path("r.json"), quality="fast"),
        MeasureJob(Path("a.nrrd"), Path("m.json"), calibration=Path("c.json"), hips_lps_mm=HEADS),
        FollowUpJob(Path("a.nrrd"), Path("f.json"), before=Path("b.nrrd"), foreign=True),
    ],
)
def test_a_job_is_unchanged_after_writing_and_reading(tmp_path: Path, job: FileJob):
    JOB.write(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "not a job"),
        ('{"schema": 7, "kind": "segment"}', "schema 7"),
        ('{"schema": 2, "kind": "segment", "input": "a", "output": "b", "cheese": 1}', "cheese"),
        ('{"schema": 2, "kind": "segment", "input": "a"}', "output"),
        (
            '{"schema": 2, "kind": "segment", "input": "a", "output": "b", "device": "abacus"}',
            "abacus",
        ),
    ],
)
def test_a_damaged_job_is_refused_with_the_reason(tmp_path: Path, text: str, says: str):
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_job(path)


@pytest.mark.parametrize("hips", [HEADS[:1], (*HEADS, HEADS[0]), ((float("nan"),) * 3, HEADS[1])])
def test_hips_that_are_not_two_points_are_refused(hips):
    with pytest.raises(ValueError, match="two points or none"):
        MeasureJob(Path("a.nrrd"), Path("m.json"), hips_lps_mm=hips)
