"""A DICOM SEG is read back by highdicom with the same voxels, codes and references."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dcmqi_reader import segments_by_dcmqi

from spinemamba.anatomy.labels import BY_NAME, ORDER
from spinemamba.anatomy.terminology import segment_info
from spinemamba.cli import main
from spinemamba.common.errors import UserError
from spinemamba.export.dicom_seg import write_dicom_seg
from spinemamba.export.run_files import RunFiles, read_vertebrae
from spinemamba.imaging.formats.dicom import series_files
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
LEVELS = ("T12", "T13", "L1", "L6", "Sacrum")
TAGS = {"SpineMamba.Model": "starter 0.1", "SpineMamba.ModelHash": "abc", "SpineMamba.Run": "r-1"}


SLICES = 25


@pytest.fixture(scope="module")
def series(shared_data, tmp_path_factory) -> Path:
    """A folder with some slices of a real series."""
    folder = tmp_path_factory.mktemp("series")
    for path in series_files(shared_data / "dicom" / "lidc0314", lambda text: None)[:SLICES]:
        shutil.copy(path, folder)
    return folder


def labels_on(geometry: Geometry) -> Volume:
    """Synthetic vertebrae with asymmetric outlines, so that any flip is detected."""
    array = np.zeros(geometry.shape, np.uint8)
    depth = geometry.shape[0] // len(LEVELS)
    for k, level in enumerate(reversed(LEVELS)):
        box = np.zeros((depth, 40, 60), bool)
        box[:, 3:, :50] = True
        box[0, 20:, 10:30] = False
        array[k * depth : (k + 1) * depth, 100 + 5 * k : 140 + 5 * k, 200:260][box] = BY_NAME[
            level
        ].value
    return Volume(array, geometry)


def write_run(folder: Path, labels: Volume) -> RunFiles:
    path = folder / "run.seg.nrrd"
    infos = [segment_info(BY_NAME[level].value, TAGS) for level in LEVELS]
    write_labels(labels, path, infos)
    return RunFiles(path, None)


def test_a_dicom_seg_is_read_back_voxel_by_voxel(series, tmp_path):
    volume = read_volume(series)
    labels = labels_on(volume.geometry)
    files = write_run(tmp_path, labels)
    out = tmp_path / "spine.dcm"
    assert (
        main(["export", str(files.labels), "--dicom-seg", str(out), "--source", str(series)]) == 0
    )
    seg = highdicom.seg.segread(out)
    sources = [
        pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(series.glob("*.dcm"))
    ]
    assert {s.SOPInstanceUID for s in sources} >= {
        str(item[2]) for item in seg.get_source_image_uids()
    }
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert seg.FrameOfReferenceUID in {source.FrameOfReferenceUID for source in sources}
    expected = sorted(LEVELS, key=ORDER.get)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == expected
    by_place = sorted(sources, key=lambda s: _height(s))
    uids = [s.SOPInstanceUID for s in by_place]
    read = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    heights = np.array([_height(s) for s in by_place])
    ours = volume.geometry.to_lps_mm(np.stack([np.arange(len(uids)), *np.zeros((2, len(uids)))], 1))
    order = np.argsort(ours @ _normal(by_place[0]))
    assert np.allclose(np.sort(ours @ _normal(by_place[0])), heights, atol=0.11)
    for k, level in enumerate(expected):
        np.testing.assert_array_equal(
            read[..., k] != 0, labels.array[order] == BY_NAME[level].value
        )


def test_dcmqi_reads_every_voxel(series, tmp_path):
    labels = labels_on(read_volume(series).geometry)
    write_dicom_seg(read_vertebrae(write_run(tmp_path, labels)), series, tmp_path / "spine.dcm")
    found = segments_by_dcmqi(tmp_path / "spine.dcm", tmp_path / "dcmqi", labels.geometry)
    assert list(found) == sorted(LEVELS, key=ORDER.get)
    for level, mask in found.items():
        np.testing.assert_array_equal(mask, labels.array == BY_NAME[level].value)


def _normal(dataset) -> np.ndarray:
    row, column = np.reshape(np.array(dataset.ImageOrientationPatient, float), (2, 3))
    return np.cross(row, column)


def _height(dataset) -> float:
    return float(np.array(dataset.ImagePositionPatient, float) @ _normal(dataset))


def test_each_segment_has_its_code_and_algorithm(series, tmp_path):
    files = write_run(tmp_path, labels_on(read_volume(series).geometry))
    write_dicom_seg(read_vertebrae(files), series, tmp_path / "spine.dcm")
    found = {s.SegmentLabel: s for s in pydicom.dcmread(tmp_path / "spine.dcm").SegmentSequence}
    for level in LEVELS:
        item = found[level].SegmentedPropertyTypeCodeSequence[0]
        label = BY_NAME[level]
        assert item.CodeValue == (label.snomed or "51282000")
        assert item.CodingSchemeDesignator == "SCT"
        if label.snomed is None:
            modifier = item.SegmentedPropertyTypeModifierCodeSequence[0]
            assert (modifier.CodeValue, modifier.CodingSchemeDesignator) == (level, "99SPINE")
        assert found[level].SegmentAlgorithmType == "AUTOMATIC"
        made = found[level].SegmentationAlgorithmIdentificationSequence[0]
        assert made.AlgorithmName == "SpineMamba Segment"
        assert "abc" in made.AlgorithmParameters


def test_labels_on_another_grid_are_refused_without_a_file(series, tmp_path):
    grid = read_volume(series).geometry
    origin = tuple(np.add(grid.origin_lps_mm, (0.3, 0, 0)))
    moved = Geometry(grid.shape, grid.spacing_mm, origin, grid.direction_lps)
    files = write_run(tmp_path, labels_on(moved))
    with pytest.raises(UserError, match="does not lie on the voxels of the DICOM series"):
        write_dicom_seg(read_vertebrae(files), series, tmp_path / "spine.dcm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.seg.nrrd"]


def test_a_series_that_cannot_be_referenced_is_refused(shared_data, tmp_path):
    series = shared_data / "dicom" / "ts_abdomen"
    files = write_run(tmp_path, labels_on(read_volume(series).geometry))
    with pytest.raises(UserError, match="20 of the 20 slices have no SOPClassUID"):
        write_dicom_seg(read_vertebrae(files), series, tmp_path / "spine.dcm")


def test_an_existing_file_is_replaced_only_on_request(shared_data, tmp_path):
    (tmp_path / "spine.dcm").write_bytes(b"keep")
    with pytest.raises(UserError, match=r"spine.dcm already exists"):
        write_dicom_seg([], shared_data / "dicom" / "ts_abdomen", tmp_path / "spine.dcm")
    assert (tmp_path / "spine.dcm").read_bytes() == b"keep"


def test_a_dicom_seg_without_its_series_is_refused(tmp_path, capsys):
    assert main(["export", str(tmp_path / "a.nrrd"), "--dicom-seg", str(tmp_path / "b.dcm")]) == 2
    assert "Add --source DIR." in capsys.readouterr().err
