"""Options of ``spinemamba segment``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_results import result_of

from spinemamba.cli.main import main
from spinemamba.common.errors import Cancelled
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.write import write_image
from spinemamba.jobs.segment import RunFiles
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.job import SegmentJob


@pytest.mark.parametrize("option", ["--keep-pieces", "--fine-slices"])
def test_options_of_the_labels_reach_the_job(monkeypatch: pytest.MonkeyPatch, option: str):
    seen = []

    def stop(job: SegmentJob) -> None:
        seen.append(job)
        raise Cancelled

    monkeypatch.setattr("spinemamba.cli.segment.run_with_progress_bar", stop)
    for given in ([], [option]):
        main(["segment", "in.nrrd", "out.nrrd", *given])
    name = option.removeprefix("--").replace("-", "_")
    assert [getattr(job, name) for job in seen] == [False, True]


def test_also_parts_writes_them_beside_the_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    phantom = make_phantom(
        3, PhantomOptions(first="L1", last="L2", spacing_mm=(2.0, 2.0, 2.0), tight=True)
    )

    def write(job: SegmentJob) -> RunFiles:
        write_image(phantom.labels, job.output)
        return RunFiles(job.output, None, None, result_of(phantom.labels))

    monkeypatch.setattr("spinemamba.cli.segment.run_with_progress_bar", write)
    words = ["segment", "in.nrrd", str(tmp_path / "spine.nii.gz"), "--also", "parts"]
    assert main(words) == 0
    parts = read_labels(tmp_path / "spine_parts.nii.gz")
    assert {2001, 2104, 2040} <= set(np.unique(parts.array).tolist())
    (tmp_path / "spine.nii.gz").unlink()
    assert main(words) == 2
    assert not (tmp_path / "spine.nii.gz").exists()
