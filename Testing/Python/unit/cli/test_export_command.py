"""``spinemamba export`` on files of runs and of reviews."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from spinemamba.anatomy.terminology import level_of, segment_info, terminology_entry
from spinemamba.cli import main
from spinemamba.imaging.seg_nrrd import read_segmentation, write_labels
from spinemamba.imaging.volume import Geometry, Volume

REVIEWED = {"Segmentation.Status": "completed", "SpineMamba.ReviewedBy": "Dr. A"}


@pytest.fixture
def labels() -> Volume:
    array = np.zeros((30, 20, 20), np.uint8)
    array[22:30, 5:12, 4:14] = 19
    array[10:18, 5:12, 4:14] = 20
    return Volume(array, Geometry(array.shape, (1.5, 0.8, 0.8), (3.0, 4.0, 5.0), np.eye(3)))


@pytest.fixture
def run(labels, tmp_path) -> Path:
    """The labels of a run with one reviewed vertebra."""
    path = tmp_path / "case 1.seg.nrrd"
    write_labels(labels, path, [segment_info(19), segment_info(20, REVIEWED)])
    return path


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def test_export_of_a_run_writes_surfaces_and_a_manifest(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(run), "--stl", str(out), "--formats", "ply", "glb"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "case_1_L1.glb", "case_1_L1.ply", "case_1_L1.stl",
        "case_1_T12.glb", "case_1_T12.ply", "case_1_T12.stl",
        "manifest.csv", "manifest.json",
    ]  # fmt: skip
    said = capsys.readouterr()
    assert "Not reviewed: T12." in said.err
    assert "Wrote 2 vertebrae" in said.out
    first, second = manifest(out)["vertebrae"]
    assert (first["reviewed"], second["reviewed"], second["reviewed_by"]) == (False, True, "Dr. A")
    assert first["findings"] == [
        "Cut by the image (superior): a flat lid closes the surface there."
    ]
    assert manifest(out)["unreviewed_accepted"] is None
    assert main(["export", str(run), "--stl", str(out)]) == 2
    assert "Choose another folder" in capsys.readouterr().err
    assert main(["export", str(run), "--stl", str(out), "--overwrite", "--yes"]) == 0
    assert manifest(out)["unreviewed_accepted"] is True


def test_chosen_levels_of_labels_without_a_result_are_exported(labels, tmp_path, capsys):
    image = sitk.GetImageFromArray(labels.array)
    sitk.WriteImage(image, str(tmp_path / "seg.nii.gz"))
    command = ["export", str(tmp_path / "seg.nii.gz"), "--stl", str(tmp_path / "out")]
    assert main([*command, "--levels", "L1", "--case", "x/y", "--smoothing", "0"]) == 0
    assert [v["level"] for v in manifest(tmp_path / "out")["vertebrae"]] == ["L1"]
    assert (tmp_path / "out" / "x_y_L1.stl").exists()
    assert main([*command, "--levels", "C1"]) == 2
    assert "There is no C1." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("levels", "exported"),
    [
        (["T12-L1"], ["T12", "L1"]),
        (["T12,L1"], ["T12", "L1"]),
        (["t12", "L1-L1"], ["T12", "L1"]),
        (["L1"], ["L1"]),
        (["L1-T12"], "neither a level such as L1 nor a range"),
        (["T12-L1-L2"], "neither a level such as L1 nor a range"),
        (["T12,"], "neither a level such as L1 nor a range"),
        (["X1"], "neither a level such as L1 nor a range"),
        (["T12-L2"], "There is no L2."),
    ],
)
def test_levels_are_chosen_by_name_list_or_range(levels, exported, run, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["export", str(run), "--stl", str(out), "--smoothing", "0", "--levels", *levels]
    code = main(command)
    if isinstance(exported, str):
        assert code == 2
        assert exported in capsys.readouterr().err
        assert not out.exists()
    else:
        assert [v["level"] for v in manifest(out)["vertebrae"]] == exported


def test_a_folder_in_place_of_the_labels_is_called_a_folder(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--stl", str(tmp_path / "out")]) == 2
    assert "is a folder. Give the label image" in capsys.readouterr().err


def test_wrong_arguments_give_a_message(run, tmp_path, capsys):
    assert main(["export", str(run)]) == 2
    assert "Add --stl DIR" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "away.seg.nrrd"), "--stl", str(tmp_path)]) == 2
    assert "Input not found" in capsys.readouterr().err
    assert main(["export", str(run), "--stl", str(tmp_path / "o"), "--decimate", "1"]) == 2
    assert "decimation must be in [0, 0.99]" in capsys.readouterr().err
    assert main(["export", str(run), "--stl", str(run)]) == 2
    assert "Cannot make the folder" in capsys.readouterr().err


def test_overlapping_segments_with_any_values_are_read(tmp_path, labels):
    layers = [labels.array, (labels.array == 20).astype(np.uint8)]
    image = sitk.Compose([sitk.GetImageFromArray(layer) for layer in layers])
    fields = {
        "Segment0_ID": "V19", "Segment0_Name": "T12", "Segment0_LabelValue": "19",
        "Segment0_Layer": "0", "Segment0_Tags": "Segmentation.Status:completed|",
        "Segment1_ID": "Segment_9", "Segment1_Name": "odd", "Segment1_LabelValue": "1",
        "Segment1_Layer": "1", "Segment1_Tags": f"TerminologyEntry:{segment_info(21).terminology}|",
        "Segmentation_ReferenceImageExtentOffset": "2 0 10",
        "Segmentation_ConversionParameters": "Reference image geometry|"
        + "1;0;0;0;" * 4 + "0;25;0;19;0;60;|text&Other|1|",
    }  # fmt: skip
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "s.seg.nrrd"))
    found = read_segmentation(tmp_path / "s.seg.nrrd")
    assert [(s.name, s.value, s.layer) for s in found.segments] == [("T12", 19, 0), ("odd", 1, 1)]
    depth, height, width = labels.array.shape
    assert found.image_xyz == ((0, 25), (0, 19), (0, 60))
    for layer, stored in zip(found.layers, layers, strict=True):
        assert np.array_equal(
            layer.array[10 : 10 + depth, :height, 2 : 2 + width], stored
        )  # the cropped part is empty
        assert layer.array.sum() == stored.sum()
        assert layer.geometry.origin_lps_mm == (-2, 0, -10)
    assert found.header["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert main(["export", str(tmp_path / "s.seg.nrrd"), "--stl", str(tmp_path / "out")]) == 0
    entries = manifest(tmp_path / "out")["vertebrae"]
    assert [(e["level"], e["segment_id"]) for e in entries] == [("T12", "V19"), ("L2", "Segment_9")]
    assert [e["findings"] for e in entries] == [[], []]


def test_a_segment_name_takes_precedence_over_its_code():
    entry = terminology_entry(level_of("L1"))
    assert level_of("L2", entry).name == "L2"
    assert level_of("looks odd", entry).name == "L1"
    assert level_of("T13", "").name == "T13"
    assert level_of("looks odd", terminology_entry(level_of("T13"))).name == "T13"
    assert level_of("Screw", "a~b~c~d") is None
