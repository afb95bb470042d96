"""A run writes all of its files or none, at whatever stage it stops."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.progress import STAGES
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.inference.device import pick_device
from spinemamba.jobs.segment import run_job
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.result import read_result
from spinemamba.segment import Segmentation


def quiet(*_: object) -> None:
    """Ignore progress and warnings."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentJob:
    """A job with a fake method that labels L3 in the middle at once."""
    array = np.random.default_rng(0).integers(-100, 900, (20, 20, 20)).astype(np.int16)
    scan = tmp_path / "in.nrrd"
    write_image(Volume(array, Geometry(array.shape, (1.0,) * 3, (0.0,) * 3, np.eye(3))), scan)
    monkeypatch.setattr("spinemamba.inference.model.load_model", quiet)
    monkeypatch.setattr("spinemamba.segment.segment", paint)
    out = tmp_path / "out"
    out.mkdir()
    return SegmentJob(scan, out / "a.seg.nrrd", out / "a.json", out / "a.png")


def paint(volume: Volume, model, options, progress, warn) -> Segmentation:
    from synthetic_results import result_of

    for stage in list(STAGES)[1:-1]:
        progress(stage, 0.5)
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[5:15, 5:15, 5:15] = 22
    painted = volume.with_array(labels)
    return Segmentation(painted, result_of(painted))


def test_a_job_writes_labels_result_and_picture_and_nothing_else(job: SegmentJob):
    files = run_job(job, quiet, quiet)
    assert set(job.output.parent.iterdir()) == {files.labels, files.result, files.picture}
    assert [item.name for item in read_result(files.result).instances] == ["L3"]


@pytest.mark.parametrize(("fine", "step_mm", "slices"), [(False, 4.0, 20), (True, 4 / 3, 60)])
def test_labels_of_thick_slices_are_on_a_finer_grid_if_wanted(
    job: SegmentJob, fine: bool, step_mm: float, slices: int
):
    array = np.random.default_rng(0).integers(-100, 900, (20, 20, 20)).astype(np.int16)
    geometry = Geometry(array.shape, (4.0, 1.0, 1.0), (0.0,) * 3, np.eye(3))
    job = dataclasses.replace(job, input=job.input.with_name("thick.nrrd"), fine_slices=fine)
    write_image(Volume(array, geometry), job.input)
    files = run_job(job, quiet, quiet)
    labels = read_volume(files.labels)
    assert labels.array.shape == read_result(files.result).shape == (slices, 20, 20)
    assert labels.spacing_mm == pytest.approx((step_mm, 1.0, 1.0))
    ends = [grid.to_lps_mm([-0.5, 0, 0])[2] for grid in (labels.geometry, geometry)]
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize("keep", [False, True])
def test_a_job_hands_on_whether_loose_pieces_stay(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch, keep: bool
):
    seen = []

    def remember(volume: Volume, model, options, progress, warn) -> Segmentation:
        seen.append(options.keep_pieces)
        return paint(volume, model, options, progress, warn)

    monkeypatch.setattr("spinemamba.segment.segment", remember)
    run_job(dataclasses.replace(job, keep_pieces=keep), quiet, quiet)
    assert seen == [keep]


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_stopped_at_any_stage_keeps_only_older_results(job: SegmentJob, stage: str):
    job = dataclasses.replace(job, overwrite=True)
    job.output.write_text("older")

    def stop(at: str, fraction: float) -> None:
        if at == stage and fraction >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_job(job, stop, quiet)
    assert [path.name for path in job.output.parent.iterdir()] == ["a.seg.nrrd"]
    assert job.output.read_text() == "older"


def test_a_failed_report_removes_the_labels_too(job: SegmentJob, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spinemamba.report.run_picture.write_run_picture", fail)
    with pytest.raises(UserError, match="No space left") as caught:
        run_job(job, quiet, quiet)
    assert caught.value.code is Code.DISK_FULL
    assert list(job.output.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["result", "picture"])
@pytest.mark.parametrize("bad", ["a.seg.nrrd/a.x", "."])
def test_an_unwritable_report_is_refused_before_the_work(job: SegmentJob, name: str, bad: str):
    job.output.touch()
    job = dataclasses.replace(job, overwrite=True, **{name: job.output.parent / bad})
    reported = []
    with pytest.raises(UserError, match=r"Cannot write (a.x|out): .* a folder") as caught:
        run_job(job, lambda *at: reported.append(at), quiet)
    assert caught.value.code is Code.OUTPUT_BAD
    assert reported == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), Code.OOM_GPU),
        (MemoryError(), Code.OOM_HOST),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), Code.OOM_HOST),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), Code.OOM_HOST),
    ],
)
def test_too_little_memory_is_a_user_error(job, monkeypatch, error, code):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("spinemamba.segment.segment", fail)
    with pytest.raises(UserError, match="too little free memory") as caught:
        run_job(job, quiet, quiet)
    assert caught.value.code is code


def test_torch_errors_other_than_memory_are_not_user_errors(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("spinemamba.segment.segment", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        run_job(job, quiet, quiet)


def test_a_missing_gpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(UserError, match="'cuda' is not available") as caught:
        pick_device("cuda")
    assert caught.value.code is Code.NO_GPU
