"""A case of a cohort has the files and values that the single commands give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import result_of

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.common.progress import ignore
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.cohort_case import CohortCase
from spinemamba.jobs.measure import Sources, measure_files, measure_run
from spinemamba.jobs.segment import run_job
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.cohort import Fingerprint, read_record
from spinemamba.protocol.job import CohortJob
from spinemamba.protocol.result import read_result

VIEW = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
PHANTOM = PhantomOptions(first="L2", last="L3", **VIEW)


@pytest.fixture
def job(tmp_path: Path) -> CohortJob:
    """A case of a small phantom, with everything but DICOM SEG."""
    scan = tmp_path / "scan.nii.gz"
    write_image(make_phantom(2, PHANTOM).image, scan)
    (tmp_path / "cases").mkdir()
    return CohortJob(
        scan,
        tmp_path / "cases" / "a",
        case="a",
        source="scan.nii.gz",
        fingerprint=Fingerprint("a" * 64, "b" * 64, "c" * 64),
        also=("stl",),
        quality="fast",
    )


def test_a_run_is_measured_in_memory_as_from_its_files(tmp_path: Path):
    phantom = make_phantom(2, PHANTOM)
    write_image(phantom.image, tmp_path / "ct.nii.gz")
    labels = phantom.labels.with_array(phantom.labels.array.astype(np.uint8))
    write_image(labels, tmp_path / "labels.nii.gz")
    sources = Sources(tmp_path / "labels.nii.gz", tmp_path / "ct.nii.gz", numbering=VERSE)
    from_files = measure_files(sources, lambda name, fraction: None).measured
    image = read_volume(tmp_path / "ct.nii.gz")
    result = replace(result_of(labels), instances=())
    in_memory = measure_run(image, read_labels(tmp_path / "labels.nii.gz"), result).measured
    assert in_memory.items == from_files.items
    assert in_memory.labels_sha256 == from_files.labels_sha256
    assert from_files.alerts[0].startswith("Levels not verified")
    assert in_memory.alerts[0].startswith("The levels are ")


@pytest.mark.long  # runs the networks; test_cohort_run.py has the files
def test_a_case_has_the_labels_of_segment_and_the_values_of_measure(job: CohortJob, tmp_path: Path):
    from spinemamba.inference.model import load_model

    case = CohortCase(job, ignore)
    case.read()
    case.segment(load_model)
    case.write()
    record = read_record(job.output)
    roles = {"labels", "result", "picture", "side", "front", "measurements", "surfaces"}
    assert roles | {"measurements_table", "report"} == set(record.files)
    assert all(
        (job.output / file.name).stat().st_size == file.bytes for file in record.files.values()
    )
    alone = run_job(job.segment_job(tmp_path / "alone"), ignore, lambda message: None)
    assert alone.labels.read_bytes() == (job.output / record.files["labels"].name).read_bytes()
    ours = read_result(job.output / record.files["result"].name)
    assert replace(ours, seconds={}) == replace(alone.result_data, seconds={})
    assert [v.name for v in record.summary.vertebrae] == [i.name for i in ours.instances]
    sources = Sources(alone.labels, job.input, run=alone.result)
    measured = measure_files(sources, lambda name, fraction: None).measured
    table = (job.output / record.files["measurements_table"].name).read_text(encoding="utf-8")
    assert table.count("\n") > len(measured.items)
    assert list((job.output / "surfaces").glob("*.stl"))
