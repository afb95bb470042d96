"""Every command checks in the same way that a CT is in Hounsfield units."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.write import write_image
from spinemamba.jobs.export_case import write_case
from spinemamba.jobs.measure import Sources, measure_files
from spinemamba.phantom import Phantom, PhantomOptions, make_phantom
from spinemamba.protocol.job import CaseJob
from spinemamba.segment import SegmentOptions, segment
from spinemamba.training.data.read_dataset import check_cases
from spinemamba.training.layouts.find import find_cases

WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1024 too much": lambda hu: (hu.astype(int) + 1024).astype(np.uint16),
    "0 to 1": lambda hu: ((hu - hu.min()) / float(np.ptp(hu))).astype(np.float32),
    "0 to 255": lambda hu: ((hu - hu.min()) / float(np.ptp(hu)) * 255).astype(np.uint8),
}
SENTENCE = "The values are not Hounsfield units"


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(2.0, 2.0, 2.0), tight=True)
    return make_phantom(1, options)


@pytest.fixture(params=WRONG)
def image(request: pytest.FixtureRequest, phantom: Phantom, tmp_path: Path) -> Path:
    """A CT in other units, beside its labels."""
    path = tmp_path / "scan_ct.nii.gz"
    write_image(phantom.image.with_array(WRONG[request.param](phantom.image.array)), path)
    write_image(phantom.labels, tmp_path / "scan_seg-vert_msk.nii.gz")
    return path


def labels_of(image: Path) -> Path:
    return image.with_name("scan_seg-vert_msk.nii.gz")


@pytest.mark.parametrize("name", WRONG)
def test_segment_refuses_an_image_that_is_wrongly_declared_ct(name: str, phantom: Phantom):
    array = WRONG[name](phantom.image.array)
    with pytest.raises(UserError, match=SENTENCE):
        segment(phantom.image.with_array(array), SimpleNamespace(), SegmentOptions(modality="ct"))


def test_box_refuses_an_image_that_is_wrongly_declared_ct(
    image: Path, capsys: pytest.CaptureFixture[str]
):
    out = image.with_name("new.nii.gz")
    arguments = [str(image), str(labels_of(image)), str(out), "--level", "L2", "--modality", "ct"]
    assert main(["resegment", *arguments]) == 2
    assert SENTENCE in capsys.readouterr().err
    assert not out.exists()


def test_measure_refuses_an_image_that_is_wrongly_declared_ct(
    image: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = [str(labels_of(image)), "--image", str(image), "--modality", "ct"]
    assert main(["measure", *arguments]) == 2
    assert SENTENCE in capsys.readouterr().err


def test_measure_gives_no_density_and_says_why(image: Path, phantom: Phantom):
    done = measure_files(Sources(labels_of(image), image), lambda name, share: None).measured
    for item in done.of("vertebra"):
        assert item.values["trabecular_hu"] is None
        assert item.reasons["trabecular_hu"]
    assert done.modality == "mr"


def test_measure_gives_the_density_of_a_ct(phantom: Phantom, tmp_path: Path):
    write_image(phantom.image, tmp_path / "ct.nii.gz")
    write_image(phantom.labels, tmp_path / "labels.nii.gz")
    paths = (tmp_path / "labels.nii.gz", tmp_path / "ct.nii.gz")
    done = measure_files(Sources(*paths), lambda name, share: None).measured
    found = [item.values["trabecular_hu"] for item in done.of("vertebra")]
    assert all(20 < value < 400 for value in found if value is not None)
    assert any(value is not None for value in found)


def test_the_modality_in_a_result_does_not_make_an_image_a_ct(
    image: Path, monkeypatch: pytest.MonkeyPatch
):
    run = SimpleNamespace(modality="ct", instances=(), labelings=(), doubt="none")
    monkeypatch.setattr("spinemamba.jobs.measure.read_result", lambda path: run)
    monkeypatch.setattr("spinemamba.jobs.measure.why_other", lambda *known, **how: "")
    sources = Sources(labels_of(image), image, run=Path("r.json"))
    done = measure_files(sources, lambda name, share: None)
    assert done.measured.modality == "mr"
    assert SENTENCE in " ".join(done.measured.notes)


def test_training_lists_the_image_among_the_problems(image: Path):
    with pytest.raises(UserError, match=f"scan_ct.nii.gz: {SENTENCE}"):
        check_cases(find_cases(image.parent), lambda text: None)


def test_training_refuses_an_mr(tmp_path: Path):
    options = PhantomOptions(first="L1", last="L2", spacing_mm=(3.0,) * 3, modality="mr")
    made = make_phantom(1, options)
    write_image(made.image, tmp_path / "scan_ct.nii.gz")
    write_image(made.labels, tmp_path / "scan_seg-vert_msk.nii.gz")
    with pytest.raises(UserError, match=f"scan_ct.nii.gz: {SENTENCE}"):
        check_cases(find_cases(tmp_path), lambda text: None)


def test_a_training_case_is_refused_with_the_same_message(image: Path):
    log = image.with_name("log.json")
    log.write_text(json.dumps({}), encoding="utf-8")
    folder = image.parent / "cases"
    job = CaseJob(
        image,
        folder / "labels.nii.gz",
        labels=labels_of(image),
        log=log,
        image=folder / "image.nii.gz",
        log_copy=folder / "log.json",
    )
    with pytest.raises(UserError, match=SENTENCE):
        write_case(job)
    assert not folder.exists()
