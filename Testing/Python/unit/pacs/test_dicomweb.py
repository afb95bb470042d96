"""The DICOMweb client with an archive that fails, and the watch on it; no networks."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dicom_phantom import SERIES, STUDY, write_phantom
from fake_archive import Archive, archive
from synthetic_results import result_of

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.pacs.dicomweb import ArchivedSeries, DicomWeb
from spinemamba.pacs.multipart import body_of, parts_of
from spinemamba.pacs.options import SeriesOptions, SeriesTask
from spinemamba.pacs.series_run import FAILED, STORED, WAS_STORED, WRITTEN, SeriesRun
from spinemamba.pacs.watch import Watch, WatchOptions
from spinemamba.protocol import events
from spinemamba.protocol.pipeline_client import CaseEnd
from spinemamba.protocol.remote.credentials import basic, bearer
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.retries import Retries
from spinemamba.protocol.remote.site import Site

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
QUICK = Retries(4, 0.0, sleep=lambda seconds: None)


class ThresholdWorker:
    """In place of a worker process: writes the folder of a case at once, or fails."""

    def __init__(self) -> None:
        self.failures: list[events.Failed] = []
        self.cases: list[str] = []
        self._ends: list[CaseEnd] = []

    def submit(self, job) -> None:
        self.cases.append(job.case)
        if self.failures:
            self._ends.append(CaseEnd(job, self.failures.pop(0)))
            return
        _write_case(job)
        self._ends.append(CaseEnd(job, events.Finished(str(job.output), "", 0.1)))

    def ended_cases(self) -> list[CaseEnd]:
        ends, self._ends = self._ends, []
        return ends


def _write_case(job) -> None:
    from types import SimpleNamespace

    import numpy as np

    from spinemamba.common.progress import ignore
    from spinemamba.imaging.read import read_volume
    from spinemamba.jobs import cohort_case

    case = cohort_case.CohortCase(job, ignore)
    volume = read_volume(job.input)
    labels = volume.with_array(np.where(volume.array > 300, 22, 0).astype(np.uint8))
    result = dataclasses.replace(result_of(labels), run_id=job.fingerprint.run_id)
    case._run.done = done = SimpleNamespace(labels=labels, result=result)
    job.output.mkdir(exist_ok=True)
    _write_labels_and_result(job.segment_job(job.output), done)
    case._record(job.output, case._write_dicom_seg(job.output)).write(job.output)


def _write_labels_and_result(job, done) -> None:
    from spinemamba.imaging.seg_nrrd import write_labels
    from spinemamba.jobs.segment import segments_of

    write_labels(done.labels, job.output, segments_of(done.result))
    done.result.write(job.result)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "series"
    write_phantom(folder)
    return folder


@pytest.fixture
def filled(phantom):
    with archive() as made:
        made.add_folder(phantom)
        yield made


def client(made: Archive, authorization: str = "") -> DicomWeb:
    return DicomWeb(Connection(Site(made.address, authorization)), QUICK)


def run_on(made: Archive, work: Path, *, store: bool = True, output: Path | None = None):
    worker = ThresholdWorker()
    return SeriesRun(client(made), SeriesOptions(), output, store, worker, work)


def series_of(made: Archive) -> ArchivedSeries:
    return next(s for s in client(made).series(STUDY) if s.modality == "CT")


def test_a_body_of_several_parts_is_read_as_it_was_written():
    parts = [b"one", b"\r\n--two\r\n\r\n", b""]
    body, kind = body_of(parts)
    assert parts_of(body, kind) == parts
    for broken in (body[:-8], b""):
        with pytest.raises(ValueError, match=r"the answer|a part"):
            parts_of(broken, kind)


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ([503, "drop", "cut"], ""),
        ([429, 500, 504], ""),
        ([503] * 4, "SERVER_REFUSED"),
        (["drop"] * 8, "SERVER_UNREACHABLE"),
        (["cut"] * 4, "SERVER_UNREACHABLE"),
        ([403], "SERVER_REFUSED"),
    ],
)
@pytest.mark.parametrize("only", ["/series?", "/instances?", "/instances/", "POST "])
def test_passing_faults_are_repeated_and_lasting_ones_are_reported(
    filled, tmp_path, faults, code, only
):
    run, series = run_on(filled, tmp_path), series_of(filled)
    filled.faults, filled.only = list(faults), only
    outcome = run.run(series)
    filled.faults = []
    assert (outcome.state, outcome.code) == (FAILED if code else STORED, code)
    assert "PHANTOM" not in outcome.detail
    assert list(tmp_path.iterdir()) == []
    assert run.run(series).state == (STORED if code else WAS_STORED)
    assert filled.modalities() == ["CT", "SEG"]


@pytest.mark.parametrize("only", ["/series?", "/instances?", "/instances/"])
def test_an_answer_of_something_else_is_reported(filled, tmp_path, only):
    run, series = run_on(filled, tmp_path), series_of(filled)
    filled.faults, filled.only = ["html"], only
    outcome = run.run(series)
    assert (outcome.state, outcome.code) == (FAILED, "SERVER_REFUSED")
    assert "DICOMweb" in outcome.detail


def test_a_refused_segmentation_is_reported_with_its_reason(filled, tmp_path):
    filled.refuses = 0x0122
    outcome = run_on(filled, tmp_path).run(series_of(filled))
    assert outcome.state == FAILED
    assert "0x0122" in outcome.detail
    assert filled.modalities() == ["CT"]


def test_nothing_is_stored_unasked_and_a_kept_file_is_stored_later(filled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    first = run_on(filled, tmp_path, store=False, output=out)
    assert first.run(series_of(filled)).state == WRITTEN
    assert filled.count("POST") == 0
    later = run_on(filled, tmp_path, output=out)
    assert later.run(series_of(filled)).state == STORED
    assert later.worker.cases == []
    assert filled.modalities() == ["CT", "SEG"]
    assert later.run(series_of(filled)).state == WAS_STORED


def test_identity_depends_on_images_model_and_options_only(tmp_path):
    one, other = ArchivedSeries("1.2", "1.2.3", "CT"), ArchivedSeries("1.2", "1.2.4", "CT")
    options, fast = SeriesOptions(), SeriesOptions(quality="fast")
    uids = {
        SeriesTask.of(series, images, chosen).uids.series
        for series in (one, other)
        for images in (["1", "2"], ["1", "2", "3"])
        for chosen in (options, fast)
    }
    assert len(uids) == 8
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    same = SeriesTask.of(one, ["2", "1"], SeriesOptions(device="cpu"))
    assert same.uids == SeriesTask.of(one, ["1", "2"], options).uids


def test_a_watch_waits_for_the_last_image_and_repeats_what_may_work_later(
    filled, tmp_path, phantom
):
    last = sorted(phantom.iterdir())[-1].read_bytes()
    held = next(uid for uid, (_, data) in filled.files.items() if data == last)
    kept = filled.files.pop(held)
    now_s, outcomes, problems = [0.0], [], []
    run = run_on(filled, tmp_path)
    run.worker.failures = [events.Failed("CRASH", "It ended.", "Try again.")]
    options = WatchOptions(interval_s=10.0, settle_s=15.0)
    watch = Watch(
        run.archive, run, options, outcomes.append, problems.append, clock=lambda: now_s[0]
    )
    for step in range(12):
        if step == 2:
            filled.files[held] = kept
        if step == 5:
            filled.faults, filled.only = [403, 403], "/studies?"
        watch.once()
        now_s[0] += 10.0
    assert [outcome.state for outcome in outcomes] == [FAILED, STORED]
    assert len(run.worker.cases) == 2
    assert len(set(run.worker.cases)) == 1
    assert len(problems) == 2
    (seg,) = [d for d, _ in filled.files.values() if d.Modality == "SEG"]
    named = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len(named) == len(list(phantom.iterdir()))


def test_credentials_come_from_a_file_and_are_never_shown(filled, tmp_path):
    secret, warnings = tmp_path / "secret", []
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    authorization = bearer(secret, warnings.append)
    assert "chmod 600" in warnings[0]
    client(filled, authorization).series(STUDY)
    assert filled.requests[-1][2] == "Bearer s3cret"
    assert "s3cret" not in repr(Site(filled.address, authorization))
    with pytest.raises(UserError, match="no colon") as caught:
        basic(secret, warnings.append)
    assert "s3cret" not in str(caught.value)
    for url in ("http://pacs.example/dicom-web", "ftp://127.0.0.1", "https://u:s3cret@h/x"):
        with pytest.raises(UserError) as refused:
            Site(url, authorization)
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("uid", ["1.2/../3", "..", "1.2?x=1", "", "1" * 65, "ab"])
def test_what_is_no_uid_does_not_reach_the_address(filled, uid):
    before = len(filled.requests)
    with pytest.raises(UserError, match="not a DICOM UID"):
        client(filled).series(uid)
    assert len(filled.requests) == before


def test_a_search_of_many_pages_is_complete(filled, monkeypatch):
    monkeypatch.setattr("spinemamba.pacs.dicomweb._PAGE", 6)
    found = client(filled).instances(ArchivedSeries(STUDY, SERIES, "CT"))
    assert sorted(found) == sorted(filled.files)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["http://127.0.0.1:9"], "go nowhere"),
        (["http://127.0.0.1:9", "--store", "--series", "1.2"], "needs the study"),
        (["http://127.0.0.1:9", "--store", "--study", "1.2", "--attempts", "1"], "No server"),
        (["nonsense", "--store"], "not the address"),
    ],
)
def test_wrong_arguments_are_refused_with_a_reason(arguments, text, capsys):
    assert main(["watch-dicomweb", *arguments]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
def test_ctrl_c_during_a_transfer_leaves_no_image(filled, tmp_path):
    filled.faults, filled.only = ["", "", "hang"], "/instances/"
    package = str(Path(sys.modules["spinemamba"].__file__).parents[1])
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "spinemamba", "watch-dicomweb", filled.address,
         "--study", STUDY, "--output", str(out)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": package},
    )  # fmt: skip
    end_s = time.monotonic() + 60
    while filled.count("/instances/") < 3:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert list(out.rglob("*.dcm"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 3
    assert "Cancelled" in process.stderr.read()
    process.stderr.close()
    assert list(out.iterdir()) == []


def test_the_record_of_a_series_has_no_data_of_the_patient(filled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    run_on(filled, tmp_path, store=False, output=out).run(series_of(filled))
    (record,) = out.rglob("case.json")
    text = json.dumps(json.loads(record.read_text()))
    assert STUDY not in text
    assert "PHANTOM" not in text
