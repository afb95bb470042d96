"""Padded scans give what the same scans give as they were acquired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from curved_spine import measure_values
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.cli.main import main
from spinemamba.imaging.intensity import guess_modality
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.truncation import FieldOfView, crop_to_data, cut_sides, without_padding
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import to_image
from spinemamba.inference.model import load_model
from spinemamba.jobs.measure import Sources, measure_files
from spinemamba.labelmaps.same_run import extents
from spinemamba.protocol.manifest import read_manifest
from spinemamba.protocol.measurements import Measurements
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.protocol.result import InstanceResult, Result
from spinemamba.segment import segment

pytestmark = pytest.mark.faults

KIND = "padding around the data"
VALUES = (-1024, 0, -3024, 63536, 3071)
ALL = ((10, 10), (10, 10), (10, 10))
SIDES = (ALL, ((3, 0), (0, 0), (0, 0)), ((0, 0), (0, 12), (1, 0)))
CROPS = (
    "tptbox/ct",
    "tptbox/mr_t2w",
    "verse/verse005_ct",
    "verse/verse006_ct",
    "verse/verse008_ct",
)

Outcome = Callable[[str, str], None]


def padded(volume: Volume, sides: tuple[tuple[int, int], ...], value: int) -> Volume:
    """The volume in a larger array of one value; voxels keep their positions."""
    kind = np.int16 if -(2**15) <= value < 2**15 else np.int32
    array = np.pad(volume.array.astype(kind), sides, constant_values=value)
    origin = volume.geometry.to_lps_mm([-low for low, _ in sides])
    place = {"shape": array.shape, "origin_lps_mm": tuple(map(float, origin))}
    return Volume(array, replace(volume.geometry, **place))


def cuts(labels: Volume, image: Volume | None) -> dict[str, tuple[str, ...]]:
    """The sides that truncate each vertebra, by level."""
    labels = canonical(labels)[0]
    view = FieldOfView.of_grid(labels.geometry)
    if image is not None:
        view = FieldOfView.of_image(canonical(image)[0])
    boxes = ndimage.find_objects(labels.array.astype(np.int32))
    voxels = {
        BY_VALUE[v].name: np.argwhere(labels.array[box] == v) + [part.start for part in box]
        for v, box in enumerate(boxes, start=1)
        if box is not None and v in BY_VALUE
    }
    return {name: cut_sides(v, labels.geometry, view) for name, v in voxels.items()}


def numbers(measured: Measurements) -> list[tuple]:
    """All measurements in a form that can be compared."""
    items = [item for kind in ("vertebra", "disc", "angle", "curve") for item in measured.of(kind)]
    return [(i.kind, i.name, i.view, i.values, i.reasons, i.words) for i in items]


def assert_same(found: list[tuple], wanted: list[tuple]) -> None:
    assert [f[:3] for f in found] == [w[:3] for w in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one[4:] == other[4:]
        assert one[3] == pytest.approx(other[3], abs=1e-6), one[:3]


@pytest.mark.parametrize("name", CROPS)
def test_the_networks_get_the_same_input_from_padded_and_bare_scans(
    name: str, shared_data: Path, outcome: Outcome
):
    bare = canonical(read_volume(shared_data / f"{name}.nii.gz"))[0]
    for value in VALUES:
        for sides in SIDES:
            data, view, box = crop_to_data(padded(bare, sides, value))
            np.testing.assert_array_equal(data.array, bare.array)
            assert data.geometry.matches(bare.geometry)
            assert [part.start for part in box] == [low for low, _ in sides]
            assert view.hull is None
            whole = padded(bare, sides, value)
            assert guess_modality(without_padding(whole).array) == guess_modality(bare.array)
            outcome(KIND, "right")


ORDINARY = ("lidc/lidc0001_ct.nii.gz", "verse/verse012_ct.nii.gz", "dicom/lidc0314")
ORDINARY += ("totalsegmentator/s0328_bone_ct.nii.gz", "totalsegmentator/ts_example_ct.nii.gz")


@pytest.mark.parametrize("name", ORDINARY)
def test_a_scan_without_padding_is_not_cropped(name: str, shared_data: Path):
    image = canonical(read_volume(shared_data / name))[0]
    data, _, box = crop_to_data(image)
    assert data.array is image.array
    assert box == tuple(slice(0, n) for n in image.array.shape)
    truth = shared_data / name.replace("_bone_ct", "_ct").replace("_ct.nii", "_seg.nii")
    if truth.is_file():
        labels = read_labels(truth)
        assert cuts(labels, image) == cuts(labels, None)


@pytest.mark.parametrize("name", ["verse005", "verse008"])
def test_a_padded_scan_has_the_measurements_of_the_bare_scan(
    name: str, shared_data: Path, outcome: Outcome
):
    image = read_volume(shared_data / "verse" / f"{name}_ct.nii.gz")
    labels = read_labels(shared_data / "verse" / f"{name}_seg.nii.gz")
    labels = labels.with_array(np.where(np.isin(labels.array, list(BY_VALUE)), labels.array, 0))
    image, labels = middle_of(image), middle_of(labels)
    wanted = numbers(measure_values(labels, image, "ct"))
    assert any("cut" in item[5] for item in wanted)
    for value in (-1024, 63536):
        larger = padded(labels, ALL, 0), padded(image, ALL, value)
        assert cuts(*larger) == cuts(labels, image)
        assert_same(numbers(measure_values(*larger, "ct")), wanted)
        outcome(KIND, "right")


def middle_of(volume: Volume, share: float = 1 / 3) -> Volume:
    """A few vertebrae, the first and last of them truncated, for quick measurements."""
    upright = canonical(volume)[0]
    height = upright.array.shape[0]
    part = slice(round(height * (1 - share) / 2), round(height * (1 + share) / 2))
    origin = upright.geometry.to_lps_mm([part.start, 0, 0])
    array = upright.array[part].copy()
    place = {"shape": array.shape, "origin_lps_mm": tuple(map(float, origin))}
    return Volume(array, replace(upright.geometry, **place))


def result_of(labels: Volume, found: dict[str, tuple[str, ...]]) -> Result:
    """The result of a run with these truncated sides."""
    values = {label.name: value for value, label in BY_VALUE.items()}
    extent = {level.name: level for level in extents(labels)}
    items = tuple(
        InstanceResult(
            k, values[name], name, 1.0, (), (0.0,) * 25,
            tuple(map(float, extent[name].centroid_lps_mm)), extent[name].volume_ml,
            not sides, sides, (),
        )
        for k, (name, sides) in enumerate(found.items(), start=1)
    )  # fmt: skip
    geometry = labels.geometry
    about = {"run_id": "r", "model_name": "m", "model_version": "1", "model_hash": "h"}
    about |= {"package_version": "1", "device": "cpu", "scan_backend": "s", "modality": "ct"}
    place = {"shape": geometry.shape, "spacing_mm": geometry.spacing_mm}
    place |= {"origin_lps_mm": geometry.origin_lps_mm}
    direction = tuple(float(v) for v in np.ravel(geometry.direction_lps))
    rest = {"labelings": (), "ambiguous": False, "warnings": (), "seconds": {}}
    return Result(**about, **place, **rest, direction_lps=direction, instances=items)


def test_every_output_agrees_on_which_vertebrae_are_truncated(
    shared_data: Path, tmp_path: Path, outcome: Outcome
):
    image = middle_of(read_volume(shared_data / "verse" / "verse008_ct.nii.gz"), 1 / 2)
    labels = middle_of(read_labels(shared_data / "verse" / "verse008_seg.nii.gz"), 1 / 2)
    labels = labels.with_array(labels.array.astype(np.uint8))
    known = cuts(labels, image)
    assert any(known.values())
    assert not all(known.values())
    image, labels = padded(image, ALL, -1024), padded(labels, ALL, 0)
    labels = labels.with_array(labels.array.astype(np.uint8))
    assert cuts(labels, image) == known
    sitk.WriteImage(to_image(labels), str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(to_image(image), str(tmp_path / "ct.nii.gz"))
    result_of(labels, known).write(tmp_path / "a_result.json")
    paths = tmp_path / "a.nii.gz", tmp_path / "ct.nii.gz", tmp_path / "a_result.json"
    for ct, run in ((paths[1], None), (None, paths[2]), (paths[1], paths[2])):
        measured = measure_files(
            Sources(paths[0], ct, "ct", run), lambda name, share: None
        ).measured
        said = {item.name: item.words.get("cut", "") for item in measured.of("vertebra")}
        assert said == {name: ", ".join(sides) for name, sides in known.items()}
        outcome(KIND, "right")
    command = ["export", str(paths[0]), "--stl", str(tmp_path / "out"), "--smoothing", "0"]
    assert main(command) == 0
    entries = read_manifest(tmp_path / "out").vertebrae
    findings_of = {e.level: [f for f in e.findings if f.startswith("Cut by")] for e in entries}
    for name, sides in known.items():
        line = f"Cut by the image ({', '.join(sides)}): a flat lid closes the surface there."
        assert findings_of[name] == ([line] if sides else [])
    outcome(KIND, "right")


@pytest.mark.parametrize("value", [-1024, 0])
def test_a_rotated_scan_is_truncated_where_its_data_end(
    value: int, shared_data: Path, outcome: Outcome
):
    """The wedges beside a rotated box have one value; the same vertebrae are truncated."""
    image = to_image(read_volume(shared_data / "tptbox" / "ct.nii.gz"))
    labels = sitk.ReadImage(str(shared_data / "tptbox" / "ct_vertebra_seg.nii.gz"))
    image, labels = (sitk.DICOMOrient(i, "LPS") for i in (image, sitk.Cast(labels, sitk.sitkUInt8)))
    middle = image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()])
    turn = sitk.Euler3DTransform(middle, 0.15, 0.0, 0.1)
    room = sitk.ConstantPad(image, (12,) * 3, (12,) * 3)
    turned = [
        sitk.Resample(i, room, turn, method, background)
        for i, method, background in (
            (image, sitk.sitkLinear, value),
            (labels, sitk.sitkNearestNeighbor, 0),
        )
    ]
    volumes = [volume_of(i) for i in (image, labels, *turned)]
    bare = cut_values(volumes[1], volumes[0])
    found = cut_values(volumes[3], volumes[2])
    vertical = {"superior", "inferior"}
    assert {v: vertical & s for v, s in found.items()} == {v: vertical & s for v, s in bare.items()}
    outcome(KIND, "right")


def volume_of(image: sitk.Image) -> Volume:
    geometry = Geometry(
        image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(),
        np.reshape(image.GetDirection(), (3, 3)),
    )  # fmt: skip
    return Volume(sitk.GetArrayFromImage(image), geometry)


def cut_values(labels: Volume, image: Volume) -> dict[int, set[str]]:
    labels, view = canonical(labels)[0], FieldOfView.of_image(canonical(image)[0])
    found = {}
    for value in np.unique(labels.array)[1:].tolist():
        voxels = np.argwhere(labels.array == value)
        if len(voxels) * labels.geometry.voxel_ml > 5:
            found[value] = set(cut_sides(voxels, labels.geometry, view))
    return found


@pytest.mark.slow
def test_a_padded_scan_gives_the_labels_of_the_bare_scan(shared_data: Path, outcome: Outcome):
    model = load_model(find_model(DEFAULT))
    bare = read_volume(shared_data / "tptbox" / "ct.nii.gz")
    wanted = segment(bare, model)
    found = segment(padded(bare, ALL, -1024), model)
    inner = tuple(slice(low, -high) for low, high in ALL)
    np.testing.assert_array_equal(found.labels.array[inner], wanted.labels.array)
    assert (found.labels.array > 0).sum() == (wanted.labels.array > 0).sum()
    assert [(i.name, i.complete, i.cut_sides, i.flags) for i in found.result.instances] == [
        (i.name, i.complete, i.cut_sides, i.flags) for i in wanted.result.instances
    ]
    outcome(KIND, "right")
