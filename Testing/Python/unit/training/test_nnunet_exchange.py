"""Data sets for nnU-Net, and its predictions as segmentations of this package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from data_sets import (
    LEVELS,
    phantom,
    renumbered,
    save,
    write_nnunet,
    write_spider,
    write_verse,
)

from spinemamba.cli.main import main
from spinemamba.imaging.read import read_labels
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.training.layouts.check import check_case
from spinemamba.training.layouts.find import find_dataset
from spinemamba.training.layouts.splits import folds


def export(data: Path, raw: Path, *words: str) -> Path:
    """Export a data set; return its folder."""
    assert main(["export-nnunet", str(data), str(raw), "--id", "7", *words]) == 0
    return raw / "Dataset007_Spine"


def test_an_exported_data_set_is_read_back_with_its_splits(tmp_path: Path):
    folder = export(write_verse(tmp_path / "verse"), tmp_path / "raw")
    dataset = find_dataset(folder)
    assert {case.name: case.split for case in dataset.cases} == {
        "sub-verse001": "",
        "sub-verse002": "",
        "sub-verse003": "",
        "sub-verse004": "test",
    }
    assert dataset.folds == (frozenset({"sub-verse003"}),)
    for case in dataset.cases:
        found = check_case(case)
        assert (found.levels, found.problems) == (LEVELS, ())
    about = json.loads((folder / "dataset.json").read_text())
    values = sorted(about["labels"].values())
    assert values == list(range(len(values)))  # nnU-Net wants them without gaps
    assert about["labels"]["ignore"] == values[-1]
    assert about["numTraining"] == 3


def test_what_our_loss_leaves_out_is_ignored_by_nnunet_too(tmp_path: Path):
    folder = export(write_spider(tmp_path / "spider"), tmp_path / "raw")
    about = json.loads((folder / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "MR"}
    labels = read_labels(next((folder / "labelsTr").glob("1_t1*")))
    assert (labels.array[0] == about["labels"]["ignore"]).all()  # below L3, no sacrum is labelled


def test_folds_are_those_of_the_option_fold(tmp_path: Path):
    write_nnunet(tmp_path / "in")
    folder = export(tmp_path / "in", tmp_path / "raw", "--ignore", "spinal_canal", "--folds", "2")
    dataset = find_dataset(folder)
    cases = [case for case in dataset.cases if case.split != "test"]
    assert list(dataset.folds) == folds(cases, 2)


def test_an_existing_data_set_is_not_replaced(tmp_path: Path, capsys):
    write_verse(tmp_path / "verse")
    folder = tmp_path / "raw" / "Dataset007_Spine"
    folder.mkdir(parents=True)
    words = ["export-nnunet", str(tmp_path / "verse"), str(tmp_path / "raw"), "--id", "7"]
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch):
    from spinemamba.training import nnunet_export

    write_verse(tmp_path / "verse")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nnunet_export, "_write_json", fail)
    words = ["export-nnunet", str(tmp_path / "verse"), str(tmp_path / "raw"), "--id", "7"]
    assert main(words) == 2
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == []


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Predictions with the numbers of another data set."""
    folder = tmp_path / "predictions"
    for name in ("a", "b"):
        save(renumbered(phantom(1).labels, {20: 3, 21: 2, 22: 1}), folder / f"{name}.nii.gz")
    labels = {"background": 0, "L3": 1, "L2": 2, "L1": 3}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def test_predictions_get_names_and_a_result(predictions: Path, tmp_path: Path):
    assert main(["import-nnunet", str(predictions), str(tmp_path / "out")]) == 0
    for name in ("a", "b"):
        spine = read_vertebra_labels(tmp_path / "out" / f"{name}.seg.nrrd")
        assert np.array_equal(spine.volume.array, phantom(1).labels.array)
        assert (tmp_path / "out" / f"{name}_result.json").is_file()
    assert main(["import-nnunet", str(predictions), str(tmp_path / "out")]) == 2
    words = ["import-nnunet", str(predictions), str(tmp_path / "out"), "--overwrite"]
    assert main(words) == 0


def test_a_damaged_prediction_does_not_stop_the_others(predictions: Path, tmp_path: Path, capsys):
    (predictions / "a.nii.gz").write_bytes(b"no image")
    assert main(["import-nnunet", str(predictions), str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "a.nii.gz" in said.err
    assert "1 of 2 cases" in said.out
    assert (tmp_path / "out" / "b.seg.nrrd").is_file()


def test_a_trained_network_of_nnunet_is_refused_with_the_reason(tmp_path: Path, capsys):
    fold = tmp_path / "trainer" / "fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_final.pth").write_bytes(b"")
    labels = {"background": 0, "L1": 1}
    (tmp_path / "trainer" / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert main(["import-nnunet", str(tmp_path / "trainer"), str(tmp_path / "out")]) == 2
    assert "--kind dynunet" in capsys.readouterr().err
