"""One vertebra in a region of interest, with the bundled weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_worker_process import collect, is_gone

from spinemamba.cli.main import main
from spinemamba.common.errors import Code, UserError
from spinemamba.editing.resegment import TargetVertebra, resegment_vertebra
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.masks import dice, merge_mask
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import to_image, write_image
from spinemamba.inference.model import load_model
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol import events
from spinemamba.protocol.job import JOB, ResegmentJob, read_job
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.protocol.vertebra_result import read_vertebra_result
from spinemamba.protocol.worker_client import LOG_NAME, WorkerProcess

L1, L2, L3 = 20, 21, 22


@pytest.fixture(scope="module")
def phantom():
    """A CT of three vertebrae of a child, so that few windows cover the region; and its truth."""
    view = {"spacing_mm": (2.0, 1.5, 1.5), "scale": 0.75, "margin_mm": 8.0, "tight": True}
    return make_phantom(3, PhantomOptions(first="L1", last="L3", **view))


class Remembering(torch.nn.Module):
    """A network that caches windows, because several tests segment the same region."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network, self.config, self.known = network, network.config, {}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        key = image.numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.network(image)
        return self.known[key]


@pytest.fixture(scope="module")
def model():
    """The fine network, with the modality set to CT."""
    fine = load_model(find_model(DEFAULT)).fine
    return replace(fine, network=Remembering(fine.network)), "ct"


def middle_of(labels: Volume, value: int) -> tuple[float, float, float]:
    """Return the position of a user's click: the deepest point in a vertebral body."""
    upright = canonical(labels)[0]
    body_mm = trace_spine(upright).bodies_mm[value]
    at = upright.geometry.to_lps_mm(body_mm / np.asarray(upright.spacing_mm))
    return tuple(float(v) for v in at)


def without(labels: Volume, value: int) -> Volume:
    return labels.with_array(np.where(labels.array == value, 0, labels.array))


def test_a_damaged_vertebra_is_restored_and_its_neighbours_stay(phantom, model):
    truth = phantom.labels.array
    damaged = truth.copy()
    # The user has erased everything behind the body.
    rows = np.argwhere(truth == L2)[:, 1]
    damaged[:, int(np.median(rows)) :][truth[:, int(np.median(rows)) :] == L2] = 0
    segmented = resegment_vertebra(
        phantom.image, phantom.labels.with_array(damaged), TargetVertebra(value=L2), model
    )
    mask = segmented.mask.array > 0
    before = dice(damaged == L2, truth == L2)
    assert dice(mask, truth == L2) > before + 0.05
    assert not (mask & np.isin(damaged, (L1, L3))).any()
    new = merge_mask(damaged, mask, L2)
    for value in (L1, L3):
        np.testing.assert_array_equal(new == value, damaged == value)


def test_a_click_segments_a_missed_vertebra(phantom, model):
    place = middle_of(phantom.labels, L2)
    labels = without(phantom.labels, L2)
    segmented = resegment_vertebra(
        phantom.image, labels, TargetVertebra(place, keep=(L1, L3)), model
    )
    mask = segmented.mask.array > 0
    assert dice(mask, phantom.labels.array == L2) > 0.5
    assert not (mask & (labels.array > 0)).any()
    assert sum(segmented.level_probabilities) == pytest.approx(1.0, abs=0.01)


def test_padding_around_the_image_changes_nothing(phantom, model):
    target = TargetVertebra(middle_of(phantom.labels, L2), keep=(L1, L3))
    labels = without(phantom.labels, L2)
    wanted = resegment_vertebra(phantom.image, labels, target, model)
    origin = phantom.image.geometry.to_lps_mm([-4, -3, -2])
    sides = ((4, 5), (3, 0), (2, 6))

    def padded(volume: Volume, value: int) -> Volume:
        array = np.pad(volume.array, sides, constant_values=value)
        place = {"shape": array.shape, "origin_lps_mm": tuple(map(float, origin))}
        return Volume(array, replace(volume.geometry, **place))

    found = resegment_vertebra(padded(phantom.image, -3024), padded(labels, 0), target, model)
    assert found.mask.array.shape == padded(labels, 0).array.shape
    np.testing.assert_array_equal(found.mask.array, padded(wanted.mask, 0).array)
    assert (found.cut_sides, found.level_probabilities) == (
        wanted.cut_sides,
        wanted.level_probabilities,
    )


def test_voxels_of_approved_neighbours_are_never_taken(phantom, model):
    place = middle_of(phantom.labels, L2)
    # L2 was labelled as a part of L1.
    merged = phantom.labels.with_array(
        np.where(phantom.labels.array == L2, L1, phantom.labels.array)
    )
    free = resegment_vertebra(phantom.image, merged, TargetVertebra(place), model)
    assert dice(free.mask.array > 0, phantom.labels.array == L2) > 0.5
    with pytest.raises(UserError, match="No vertebra found") as caught:
        resegment_vertebra(phantom.image, merged, TargetVertebra(place, keep=(L1, L3)), model)
    assert caught.value.code is Code.NO_SPINE


def test_an_image_in_another_orientation_gives_the_same_vertebra(phantom, model, tmp_path: Path):
    def turned(volume: Volume) -> Volume:
        path = tmp_path / "turned.nrrd"
        sitk.WriteImage(sitk.DICOMOrient(to_image(volume), "PIR"), str(path))
        return read_labels(path)

    target = TargetVertebra(middle_of(phantom.labels, L2))
    plain = resegment_vertebra(phantom.image, None, target, model)
    other = resegment_vertebra(turned(phantom.image), None, target, model)
    np.testing.assert_array_equal(turned(plain.mask).array, other.mask.array)


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        (TargetVertebra((0.0, 0.0, 9e4)), Code.INPUT_BAD, "outside of the image"),
        (TargetVertebra(value=7), Code.INPUT_BAD, "no vertebra with the value 7"),
    ],
)
def test_an_invalid_box_request_is_refused(phantom, model, target, code, says):
    with pytest.raises(UserError, match=says) as caught:
        resegment_vertebra(phantom.image, phantom.labels, target, model)
    assert caught.value.code is code


def test_a_click_into_air_finds_no_vertebra(phantom, model):
    air = phantom.image.with_array(np.full_like(phantom.image.array, -1000))
    with pytest.raises(UserError, match="No vertebra found") as caught:
        resegment_vertebra(air, None, TargetVertebra(middle_of(phantom.labels, L2)), model)
    assert caught.value.code is Code.NO_SPINE


@pytest.fixture
def job(phantom, tmp_path: Path) -> ResegmentJob:
    """The files of a phantom with a missed L2, and a job that segments it."""
    write_image(phantom.image, tmp_path / "patient name.nii.gz")
    write_image(without(phantom.labels, L2), tmp_path / "patient labels.nii.gz")
    run = tmp_path / "run"
    run.mkdir()
    return ResegmentJob(
        tmp_path / "patient name.nii.gz",
        run / "mask.nrrd",
        run / "box.json",
        labels=tmp_path / "patient labels.nii.gz",
        point_lps_mm=middle_of(phantom.labels, L2),
        locked_labels=(L1, L3),
    )


@pytest.mark.slow
def test_the_worker_segments_a_box_and_logs_no_file_name(job: ResegmentJob, phantom):
    worker = WorkerProcess.start(job, job.output.parent)
    collect(worker, events.Finished, seconds=120)
    assert worker.wait(10) == 0
    assert {p.name for p in job.output.parent.iterdir()} == {"mask.nrrd", "box.json", LOG_NAME}
    mask, result = read_labels(job.output), read_vertebra_result(job.result)
    assert mask.geometry.matches(phantom.image.geometry)
    assert dice(mask.array > 0, phantom.labels.array == L2) > 0.5
    voxel_ml = np.prod(mask.spacing_mm) / 1000
    assert result.volume_ml == pytest.approx((mask.array > 0).sum() * voxel_ml)
    assert result.dice_before is None
    assert result.point_lps_mm == job.point_lps_mm
    assert "patient" not in worker.log.read_text()


@pytest.mark.slow
def test_a_cancelled_box_leaves_no_process_and_no_file(job: ResegmentJob):
    worker = WorkerProcess.start(job, job.output.parent)
    collect(worker, "segment", seconds=120)
    worker.cancel()
    assert is_gone(worker.pid)
    assert {path.name for path in job.output.parent.iterdir()} == {LOG_NAME}


def test_a_resegment_job_is_read_back_equal_and_invalid_ones_are_refused(
    job: ResegmentJob, tmp_path: Path
):
    JOB.write(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job
    with pytest.raises(ValueError, match="point_lps_mm is required"):
        ResegmentJob(job.input, job.output)
    with pytest.raises(ValueError, match="both in locked_labels and"):
        ResegmentJob(
            job.input, job.output, labels=job.labels, replaced_label=L1, locked_labels=(L1,)
        )
    with pytest.raises(ValueError, match="three finite numbers"):
        ResegmentJob(job.input, job.output, point_lps_mm=(1.0, float("nan"), 2.0))


def test_the_command_writes_the_vertebra_into_a_new_label_image(
    job: ResegmentJob, tmp_path: Path, capsys
):
    out = tmp_path / "new.seg.nrrd"
    place = ",".join(map(str, job.point_lps_mm))
    words = ["resegment", str(job.input), str(job.labels), str(out)]
    assert main([*words, f"--point={place}", "--name", "L2", "--keep", "L1", "--keep", "L3"]) == 0
    before, after = read_labels(job.labels).array, read_labels(out).array
    assert set(np.unique(after)) == {0, L1, L2, L3}
    np.testing.assert_array_equal(after == L1, before == L1)
    assert "L2: " in capsys.readouterr().out
    assert main([*words, f"--point={place}", "--name", "L1"]) == 2
    assert "new.seg.nrrd already exists" in capsys.readouterr().err
    words += ["--overwrite"]
    assert main([*words, f"--point={place}", "--name", "L1"]) == 2
    assert "already contain L1" in capsys.readouterr().err
    assert main([*words, "--level", "L3", "--point", "1,2,3"]) == 2
    assert main([*words[:3], str(job.labels), "--overwrite", "--level", "L3"]) == 2
    assert "is the input" in capsys.readouterr().err


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 1, 2)])
def test_labels_may_have_another_axis_order_than_the_image(job: ResegmentJob, tmp_path: Path, axes):
    original = sitk.ReadImage(str(job.labels))
    stored = sitk.Flip(sitk.PermuteAxes(original, axes), [True, False, True])
    sitk.WriteImage(stored, str(tmp_path / "turned.nrrd"))
    place = ",".join(map(str, job.point_lps_mm))
    for name, labels in (("a.nrrd", job.labels), ("b.nrrd", tmp_path / "turned.nrrd")):
        words = ["resegment", str(job.input), str(labels), str(tmp_path / name)]
        assert (
            main([*words, f"--point={place}", "--name", "L2", "--keep", "L1", "--keep", "L3"]) == 0
        )
    out = tmp_path / "c.nrrd"
    assert (
        main(["resegment", str(job.input), str(tmp_path / "b.nrrd"), str(out), "--level", "L2"])
        == 0
    )
    one, two = (sitk.ReadImage(str(tmp_path / name)) for name in ("a.nrrd", "b.nrrd"))
    assert two.GetSize() == stored.GetSize()
    again = sitk.Resample(two, one, sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(one))


def test_merging_a_mask_replaces_only_the_voxels_of_its_level():
    labels = np.array([1, 1, 2, 2, 3, 0])
    mask = np.array([False, True, False, True, True, True])
    np.testing.assert_array_equal(merge_mask(labels, mask, 2), [1, 2, 0, 2, 2, 2])
    np.testing.assert_array_equal(merge_mask(labels, mask, 2, keep=(3,)), [1, 2, 0, 2, 3, 2])
    np.testing.assert_array_equal(labels, [1, 1, 2, 2, 3, 0])
    with pytest.raises(ValueError, match="cannot be replaced and kept"):
        merge_mask(labels, mask, 2, keep=(2,))
