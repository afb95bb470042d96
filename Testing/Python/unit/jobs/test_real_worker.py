"""The real worker with the bundled model, on a small phantom and on real scans."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_worker_process import collect, is_gone

from spinemamba.evaluation.compare import compare
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.segment import run_job
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.result import read_result
from spinemamba.protocol.worker_client import LOG_NAME, WorkerProcess

# The quick ring has the model in test_cli.py and test_box.py, and in test_process.py a worker that
# computes nothing and is cancelled at each stage.
pytestmark = pytest.mark.slow


@pytest.fixture
def job(tmp_path: Path) -> SegmentJob:
    """A job for a small phantom, with all outputs."""
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    scan = tmp_path / "patient name.nii.gz"
    write_image(make_phantom(2, PhantomOptions(first="L2", last="L3", **view)).image, scan)
    run = tmp_path / "run"
    run.mkdir()
    return SegmentJob(
        scan, run / "labels.seg.nrrd", run / "result.json", run / "report.png", quality="fast"
    )


def test_the_worker_segments_a_phantom_and_logs_no_file_name(job: SegmentJob):
    worker = WorkerProcess.start(job, job.output.parent)
    found = collect(worker, events.Finished, seconds=120)
    assert worker.wait(10) == 0
    assert isinstance(found[0], events.Hello)
    result = read_result(job.result)
    assert len(result.instances) >= 2
    assert read_volume(job.output).geometry.matches(read_volume(job.input).geometry)
    assert job.picture.stat().st_size > 10_000
    assert "patient" not in worker.log.read_text()


@pytest.mark.parametrize("stage", ["read", "locate", "segment"])
def test_cancelling_the_real_worker_leaves_no_process_and_no_output(job: SegmentJob, stage: str):
    worker = WorkerProcess.start(job, job.output.parent)
    hello = collect(worker, stage, seconds=120)[0]
    worker.cancel()
    assert is_gone(worker.pid)
    assert is_gone(hello.pid)
    assert {path.name for path in job.output.parent.iterdir()} == {LOG_NAME}


def test_a_real_ct_outside_the_training_data_reaches_the_required_dice(
    shared_data: Path, tmp_path: Path
):
    folder = shared_data / "verse"
    run_job(
        SegmentJob(folder / "verse012_ct.nii.gz", tmp_path / "a.nii.gz"),
        lambda stage, fraction: None,
        lambda message: None,
    )
    score = compare(read_volume(tmp_path / "a.nii.gz"), read_volume(folder / "verse012_seg.nii.gz"))
    assert score.bone_dice >= 0.75
    assert all(vertebra.found_as for vertebra in score.vertebrae)
