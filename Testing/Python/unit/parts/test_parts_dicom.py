"""A DICOM SEG of parts has the voxels, codes and levels of the parts."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from dcmqi_reader import segments_by_dcmqi

from spinemamba.anatomy.parts import CANAL, DISC, PARTS, part_info, part_value
from spinemamba.common.errors import UserError
from spinemamba.export.dicom_seg_parts import write_parts_seg
from spinemamba.imaging.formats.dicom import series_files
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume

highdicom = pytest.importorskip("highdicom")


@pytest.fixture(scope="module")
def series(shared_data, tmp_path_factory):
    """A folder with some slices of a real series."""
    folder = tmp_path_factory.mktemp("series")
    for path in series_files(shared_data / "dicom" / "lidc0314", lambda text: None)[:12]:
        shutil.copy(path, folder)
    return folder


def written(series, path):
    """Write all parts of two levels as boxes; return labels and segments."""
    volume = read_volume(series)
    values = [part_value(level, part) for level in ("L1", "L6") for part in PARTS]
    values += [part_value("L1", DISC), CANAL.value]
    array = np.zeros(volume.geometry.shape, np.uint16)
    for k, value in enumerate(values):
        array[k % 10 : k % 10 + 2, 100 + 4 * k : 103 + 4 * k, 200 : 210 + k] = value
    segments = [part_info(value, "L2") for value in values]
    write_parts_seg(Volume(array, volume.geometry), segments, series, path)
    return array, segments


def test_a_dicom_seg_of_parts_is_read_back_voxel_by_voxel(series, tmp_path):
    array, segments = written(series, tmp_path / "parts.dcm")
    seg = highdicom.seg.segread(tmp_path / "parts.dcm")
    assert seg.number_of_segments == len(segments)
    volume, grid = seg.get_volume(combine_segments=False), read_volume(series).geometry
    for k, segment in enumerate(segments):
        description = seg.get_segment_description(k + 1)
        assert description.SegmentLabel == segment.name
        kind, modifier, _, region = segment.terminology.split("~")[2:6]
        item = description.SegmentedPropertyTypeCodeSequence[0]
        assert item.CodeValue == kind.split("^")[1]
        if modifier != "^^":
            sides = item.SegmentedPropertyTypeModifierCodeSequence
            assert sides[0].CodeValue == modifier.split("^")[1]
        if region != "^^":
            assert description.AnatomicRegionSequence[0].CodeValue == region.split("^")[1]
        found = volume.map_indices_to_reference(np.argwhere(volume.array[..., k]))
        truth = grid.to_lps_mm(np.argwhere(array == segment.value))
        assert len(found) == len(truth) > 0
        assert np.allclose(*(p[np.lexsort(np.rint(p * 10).T)] for p in (found, truth)), atol=0.05)


def test_dcmqi_reads_every_voxel_of_a_dicom_seg_of_parts(series, tmp_path):
    array, segments = written(series, tmp_path / "parts.dcm")
    grid = read_volume(series).geometry
    found = segments_by_dcmqi(tmp_path / "parts.dcm", tmp_path / "dcmqi", grid)
    assert list(found) == [segment.name for segment in segments]
    for segment in segments:
        np.testing.assert_array_equal(found[segment.name], array == segment.value)


def test_dciodvfy_finds_no_error_in_a_dicom_seg_of_parts(series, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is missing")
    written(series, tmp_path / "parts.dcm")
    run = subprocess.run(
        ["dciodvfy", str(tmp_path / "parts.dcm")], capture_output=True, text=True, check=False
    )
    assert "Error" not in run.stderr + run.stdout


def test_parts_on_another_grid_are_refused(series, tmp_path):
    volume = read_volume(series)
    array = np.ones(tuple(n - 1 for n in volume.geometry.shape), np.uint16) * 2001
    grid = Volume(
        volume.array[:-1, :-1, :-1],
        volume.geometry.__class__(
            array.shape,
            volume.geometry.spacing_mm,
            volume.geometry.origin_lps_mm,
            volume.geometry.direction_lps,
        ),
    ).geometry
    with pytest.raises(UserError, match="do not lie on the voxels"):
        write_parts_seg(Volume(array, grid), [part_info(2001)], series, tmp_path / "p.dcm")
    assert not (tmp_path / "p.dcm").exists()
