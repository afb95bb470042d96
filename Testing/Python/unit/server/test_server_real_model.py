"""The bundled model over a server gives what a run on this computer gives."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from server_process import RunningServer, request_body

from spinemamba.common.progress import ignore
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.write import write_image
from spinemamba.jobs.relabel import run_relabel
from spinemamba.jobs.segment import run_job
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.job import RelabelJob, SegmentJob
from spinemamba.protocol.remote.formats import JOB_TYPE, JOBS
from spinemamba.protocol.result import read_result

pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
# The quick ring has the same server with a stand-in.
pytestmark = pytest.mark.slow


def _no_note(text: str) -> None:
    """Drop a warning."""


def over_server(server: RunningServer, folder: Path, body: bytes) -> tuple[Path, Path]:
    """Send a job, and write labels and result into a folder."""
    sent = server.ask("POST", JOBS, body=body, Content_Type=JOB_TYPE)
    assert sent.status == 201, sent.body
    job = sent.json["id"]
    done = server.wait(job, seconds=300)
    assert done["state"] == "done", done
    paths = (folder / "labels.seg.nrrd", folder / "labels_result.json")
    for role, path in zip(("labels", "result"), paths, strict=True):
        path.write_bytes(server.ask("GET", f"{JOBS}/{job}/result/{role}").body)
    return paths


def check_same(here: tuple[Path, Path], there: tuple[Path, Path]) -> None:
    """Check that labels and result are equal, but for the times and the random id of the run.

    Probabilities may differ by the rounding of bfloat16, if this process uses other threads.
    """
    labels, others = read_labels(here[0]), read_labels(there[0])
    assert labels.geometry.matches(others.geometry)
    assert np.array_equal(labels.array, others.array)
    run, other = (read_result(path) for _, path in (here, there))
    assert [v.name for v in run.instances] == [v.name for v in other.instances]
    certain, others_certain = ([v.posterior for v in r.instances] for r in (run, other))
    assert certain == pytest.approx(others_certain, abs=0.01)
    plain = {"run_id": "", "seconds": {}, "instances": (), "labelings": ()}
    assert replace(run, **plain) == replace(other, **plain)


def test_labels_and_result_are_those_of_a_run_on_this_computer(tmp_path: Path):
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    scan = tmp_path / "scan.nii.gz"
    write_image(make_phantom(2, PhantomOptions(first="L2", last="L3", **view)).image, scan)
    local = (tmp_path / "run.seg.nrrd", tmp_path / "run_result.json")
    run_job(SegmentJob(scan, *local, quality="fast"), ignore, _no_note)
    there = tmp_path / "there"
    there.mkdir()
    with RunningServer(tmp_path / "server", {"python": sys.executable}) as server:
        image = {"image.nii.gz": scan.read_bytes()}
        remote = over_server(server, there, request_body(image, quality="fast"))
        check_same(local, remote)
        again = tmp_path / "again.seg.nrrd", tmp_path / "again_result.json"
        run_relabel(
            RelabelJob(local[0], *again, run=local[1], fixed_levels=("L3#1",)), ignore, _no_note
        )
        files = {"labels.seg.nrrd": local[0].read_bytes(), "result.json": local[1].read_bytes()}
        body = request_body(files, "relabel", fixed_levels=["L3#1"])
        check_same(again, over_server(server, there, body))
