"""Labels as other software writes them: read by every command, and imported for the review."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from synthetic_dicom import COLUMNS, ROWS, SLICES, write_series

from spinemamba.anatomy.label_schemes import TOTALSEGMENTATOR
from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.anatomy.terminology import level_named, name_like
from spinemamba.cli import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import read_segmentation
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.result import read_result

Case = tuple[Path, list[str]]


@pytest.fixture(scope="module")
def truth(shared_data) -> sitk.Image:
    """Labels of a real spine with VerSe's numbers, T11 to the sacrum."""
    return sitk.ReadImage(str(shared_data / "totalsegmentator" / "ts_example_seg.nii.gz"))


def write(truth: sitk.Image, array: np.ndarray, path: Path) -> Path:
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.CopyInformation(truth)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def names_of(array: np.ndarray) -> dict[int, str]:
    return {int(v): BY_VALUE[int(v)].name for v in np.unique(array) if v}


def class_of(name: str) -> str:
    return "sacrum" if name == "Sacrum" else f"vertebrae_{name}"


def remapped(array: np.ndarray, value_of: Callable[[str], int]) -> np.ndarray:
    out = np.zeros_like(array)
    for value, name in names_of(array).items():
        out[array == value] = value_of(name)
    return out


def multilabel(truth: sitk.Image, folder: Path) -> Case:
    """TotalSegmentator with --ml: one label map, with ribs and organs."""
    values = {label.name: v for v, label in reversed(TOTALSEGMENTATOR.levels.items())}
    array = remapped(sitk.GetArrayFromImage(truth), values.__getitem__)
    array[:3, :9, :9] = 5  # liver
    return write(truth, array, folder / "ct_seg.nii.gz"), ["--labels", "totalsegmentator"]


def with_names(truth: sitk.Image, folder: Path) -> Case:
    """A label map with a JSON file of names and numbers."""
    path, _ = multilabel(truth, folder)
    numbers = {class_of(label.name): v for v, label in reversed(TOTALSEGMENTATOR.levels.items())}
    (folder / "names.json").write_text(json.dumps({**numbers, "liver": 5}), "utf-8")
    return path, ["--labels", str(folder / "names.json")]


def structures(truth: sitk.Image, folder: Path) -> Case:
    """TotalSegmentator without --ml: one mask per structure, empty ones included."""
    array = sitk.GetArrayFromImage(truth)
    for value, name in names_of(array).items():
        write(truth, array == value, folder / "segmentations" / f"{class_of(name)}.nii.gz")
    for name in ("vertebrae_C1", "liver"):
        write(truth, np.zeros(array.shape), folder / "segmentations" / f"{name}.nii.gz")
    return folder / "segmentations", []


def spineps(truth: sitk.Image, folder: Path) -> Case:
    """SPINEPS: VerSe's numbers, discs from 100 and endplates from 200."""
    array = sitk.GetArrayFromImage(truth).astype(np.uint8)
    for value in names_of(array):
        array[0, 0, value], array[0, 1, value] = 100 + value, 200 + value
    write(truth, np.where(array > 0, 50, 0), folder / "sub-1_mod-ct_seg-spine_msk.nii.gz")
    return write(truth, array, folder / "sub-1_mod-ct_seg-vert_msk.nii.gz"), []


def nnunet(truth: sitk.Image, folder: Path) -> Case:
    """nnU-Net: numbers from 1, and dataset.json."""
    array = sitk.GetArrayFromImage(truth)
    names = ["background", *names_of(array).values()]
    labels = {class_of(name) if name != "background" else name: k for k, name in enumerate(names)}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}), "utf-8")
    path = write(truth, remapped(array, names.index), folder / "case_001.nii.gz")
    return path, ["--labels", str(folder / "dataset.json")]


CASES = (multilabel, with_names, structures, spineps, nnunet)


@pytest.mark.parametrize("make", CASES)
def test_labels_of_other_software_are_imported_for_review(make, truth, tmp_path, capsys):
    path, options = make(truth, tmp_path)
    out = tmp_path / "spine.seg.nrrd"
    assert main(["review-import", str(path), str(out), *options]) == 0
    array = sitk.GetArrayFromImage(truth)
    file = read_segmentation(out)
    np.testing.assert_array_equal(file.layers[0].array, array)
    assert [s.name for s in file.segments] == list(names_of(array).values())
    assert all(s.tags["SpineMamba.TakenOver"] == "1" for s in file.segments)
    # The image ends within T11; T12 touches its upper edge.
    flagged = [s.name for s in file.segments if s.tags.get("Segmentation.Status") == "flagged"]
    assert flagged == ["T11", "T12"]
    result = read_result(tmp_path / "spine_result.json")
    assert [item.name for item in result.instances] == [s.name for s in file.segments]
    assert "Cut by the image (superior)." in capsys.readouterr().out
    reference = tmp_path / "reference.nii.gz"
    sitk.WriteImage(truth, str(reference))
    assert main(["evaluate", str(out), str(reference)]) == 0
    assert "Dice 1.000" in capsys.readouterr().out
    # Nothing is overwritten unasked.
    assert main(["review-import", str(path), str(out), *options]) != 0


@pytest.mark.parametrize("make", CASES)
def test_other_commands_read_the_same_labels(make, truth, tmp_path, capsys):
    path, options = make(truth, tmp_path)
    assert main(["measure", str(path), *options, "--out", str(tmp_path / "m")]) == 0
    assert "L5" in capsys.readouterr().out
    if "--labels" not in options:
        export = ["export", str(path), "--stl", str(tmp_path / "stl"), "--levels", "L3"]
        assert main([*export, "--smoothing", "0"]) == 0
        assert len(list((tmp_path / "stl").glob("*.stl"))) == 1


def test_masks_on_different_grids_are_refused(truth, tmp_path):
    path, _ = structures(truth, tmp_path)
    small = truth[:-1, :, :]
    write(small, sitk.GetArrayFromImage(small) == 20, path / "vertebrae_L1.nii.gz")
    with pytest.raises(UserError, match="another grid"):
        read_vertebra_labels(path)


def test_overlapping_masks_are_refused_with_the_count(truth, tmp_path):
    path, _ = structures(truth, tmp_path)
    array = sitk.GetArrayFromImage(truth)
    write(truth, (array == 20) | (array == 21), path / "vertebrae_L1.nii.gz")
    count = int((array == 21).sum())
    with pytest.raises(UserError, match=f"share {count} voxels"):
        read_vertebra_labels(path)


MEANINGS = {"L1": "L1 vertebra", "L2": "Lendenwirbel 2", "L6": "L6"}
"""Meanings of codes; another language changes no code."""


SNOMED_RT = {"66794005": "T-11910", "14293000": "T-11920"}


def plain(item: Any) -> None:
    """Leave a segment as highdicom makes it."""


def as_dcmqi(item: Any) -> None:
    """Add what dcmqi writes about a segment."""
    from pydicom.dataset import Dataset

    item.SegmentDescription = "from a nrrd file"
    item.SegmentAlgorithmType = "SEMIAUTOMATIC"
    item.SegmentAlgorithmName = "x"
    item.RecommendedDisplayCIELabValue = [43803, 26565, 37722]
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator = "421060004", "SCT"
    region.CodeMeaning = "Vertebral column"
    item.AnatomicRegionSequence = [region]


def as_old_dcmqi(item: Any) -> None:
    """Code the segments as dcmqi did before DICOM went over to SNOMED CT."""
    as_dcmqi(item)
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    if kind.CodeValue in SNOMED_RT:
        kind.CodeValue, kind.CodingSchemeDesignator = SNOMED_RT[kind.CodeValue], "SRT"


WRITERS = {"highdicom": plain, "dcmqi": as_dcmqi, "old dcmqi": as_old_dcmqi}


def dicom_seg(
    folder: Path, *, overlap: bool = False, edit: Callable[[Any], None] = plain
) -> tuple[Path, Path, np.ndarray]:
    """Write a series and a DICOM SEG of it; return both, and the label values on its grid."""
    highdicom = pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")
    write_series(folder / "series")
    sources = [pydicom.dcmread(path) for path in (folder / "series").iterdir()]
    sources.sort(key=lambda one: one.ImagePositionPatient[2])
    labels = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    masks = np.zeros((*labels.shape, len(MEANINGS)), np.uint8)
    for k, name in enumerate(reversed(MEANINGS)):
        labels[2 + 3 * k : 4 + 3 * k, 2 : 5 + k, 3:9] = BY_NAME[name].value
    for k, name in enumerate(MEANINGS):
        masks[..., k] = labels == BY_NAME[name].value
    if overlap:
        masks[..., 0] |= masks[..., 1]
    seg = highdicom.seg.Segmentation(
        sources, masks, highdicom.seg.SegmentationTypeValues.BINARY,
        [_segment(highdicom, k, name) for k, name in enumerate(MEANINGS, start=1)],
        "1.2.3.4.5", 1, "1.2.3.4.6", 1, "x", "x", "1", "1",
    )  # fmt: skip
    for item in seg.SegmentSequence:
        edit(item)
    seg.save_as(folder / "seg.dcm")
    return folder / "series", folder / "seg.dcm", labels


def _segment(highdicom, number: int, name: str):
    code, text = highdicom.sr.CodedConcept, MEANINGS[name]
    vertebra = BY_NAME[name].snomed or "51282000"
    return highdicom.seg.SegmentDescription(
        number, text, code("123037004", "SCT", "Anatomical Structure"),
        code(vertebra, "SCT", text), "MANUAL",
    )  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_a_dicom_seg_is_read_by_its_codes(tmp_path, writer: str):
    series, path, labels = dicom_seg(tmp_path, edit=WRITERS[writer])
    out = tmp_path / "spine.seg.nrrd"
    command = ["review-import", str(path), str(out), "--image", str(series)]
    assert main(command) == 0
    file = read_segmentation(out)
    assert [s.name for s in file.segments] == ["L1", "L2", "L6"]
    # A volume starts with its lowest slice, as the series does here.
    np.testing.assert_array_equal(file.layers[0].array, labels)
    assert file.layers[0].geometry.matches(read_volume(series).geometry)
    alone = read_vertebra_labels(path)
    assert np.count_nonzero(alone.volume.array) == np.count_nonzero(labels)
    step = read_volume(series).geometry.to_lps_mm(np.argwhere(labels == 20)).mean(axis=0)
    found = alone.volume.geometry.to_lps_mm(np.argwhere(alone.volume.array == 20)).mean(axis=0)
    np.testing.assert_allclose(found, step, atol=1e-6)


def test_overlapping_segments_of_a_dicom_seg_are_refused(tmp_path):
    _, path, labels = dicom_seg(tmp_path, overlap=True)
    with pytest.raises(UserError, match=f"L1 and L2 share {int((labels == 21).sum())} voxels"):
        read_vertebra_labels(path)


STYLES = {
    ("vertebrae_L1", "L2"): "vertebrae_L2",
    ("L1 vertebra", "T12"): "T12 vertebra",
    ("Vertebra T12", "L1"): "Vertebra L1",
    ("Th12", "T11"): "Th11",
    ("Th12", "L1"): "L1",
    ("l01", "L2"): "l02",
    ("L_5", "L6"): "L_6",
    ("vertebrae_L5", "Sacrum"): "Sacrum",
    ("sacrum", "L5"): "L5",
    ("L1 old", "L2"): "L2",
    ("Wirbel 7", "C7"): "C7",
    ("vertebrae_S1", "L6"): "vertebrae_L6",
}


@pytest.mark.parametrize(("name", "level"), STYLES)
def test_a_new_level_keeps_the_style_of_a_name(name: str, level: str):
    new = name_like(name, BY_NAME[level])
    assert new == STYLES[name, level]
    assert level_named(new) is BY_NAME[level]
