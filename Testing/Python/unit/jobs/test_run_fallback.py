"""Fallback to the CPU if the GPU has too little memory, and protection of the input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.inference.device import pick_device
from spinemamba.jobs.segment import run_job
from spinemamba.protocol.job import SegmentJob


@pytest.fixture
def job(tmp_path: Path) -> SegmentJob:
    array = np.arange(512, dtype=np.int16).reshape(8, 8, 8)
    geometry = Geometry(array.shape, (1.0,) * 3, (0.0,) * 3, np.eye(3))
    write_image(Volume(array, geometry), tmp_path / "in.nrrd")
    return SegmentJob(tmp_path / "in.nrrd", tmp_path / "a.nrrd", device="cuda")


def test_a_gpu_without_enough_memory_falls_back_to_the_cpu_with_a_warning(
    job: SegmentJob, monkeypatch: pytest.MonkeyPatch
):
    tried, warned = [], []

    def segment(volume, model, options, progress, warn):
        tried.append(model.device)
        if model.device == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        labels = volume.with_array(np.zeros(volume.array.shape, np.uint8))
        return SimpleNamespace(labels=labels, result=SimpleNamespace(instances=()))

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        "spinemamba.inference.model.load_model",
        lambda folder, device, precision: SimpleNamespace(device=device),
    )
    monkeypatch.setattr("spinemamba.segment.segment", segment)
    run_job(job, lambda *at: None, warned.append)
    assert tried == ["cuda", "cpu"]
    assert len(warned) == 1
    assert "Using the slower CPU" in warned[0]
    assert job.output.exists()


@pytest.mark.parametrize("name", ["output", "result", "picture"])
def test_the_input_is_never_overwritten(job: SegmentJob, tmp_path: Path, name: str):
    before = job.input.read_bytes()
    (tmp_path / "link.nrrd").hardlink_to(job.input)
    for path in (job.input, tmp_path / "link.nrrd"):
        with pytest.raises(UserError, match="is the input") as caught:
            run_job(dataclasses.replace(job, **{name: path}), lambda *at: None, print)
        assert caught.value.code is Code.OUTPUT_BAD
    assert job.input.read_bytes() == before


def test_an_existing_gpu_can_be_selected_by_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device("cuda:1") == "cuda:1"
    with pytest.raises(UserError, match="'cuda:2' is not available") as caught:
        pick_device("cuda:2")
    assert caught.value.code is Code.NO_GPU


def test_a_job_accepts_known_devices_only(job: SegmentJob):
    assert dataclasses.replace(job, device="cuda:3").device == "cuda:3"
    for device in ("cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(ValueError, match="device must be one of"):
            dataclasses.replace(job, device=device)
