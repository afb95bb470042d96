"""Options of ``spinemamba segment``."""

from __future__ import annotations

import pytest

from spinemamba.cli.main import main
from spinemamba.common.errors import Cancelled
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
