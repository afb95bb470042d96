"""Levels of every kind of label file, in every command that reads labels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from label_file_cases import (
    L234,
    RIGHT,
    WRONG,
    by_kind,
    numbers_of,
    segments,
    spine,
    truth_of,
    write_maps,
    write_numbers,
)

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.imaging.write import write_image

pytestmark = pytest.mark.faults

REFUSED = 2
LONG = ("T6", "T7", "T8", "T9", "T10", "T11")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with the label maps of the cases."""
    monkeypatch.chdir(tmp_path)
    write_maps(tmp_path)
    return tmp_path


@pytest.mark.parametrize("form", RIGHT, ids=by_kind)
def test_measure_and_evaluate_use_the_levels_of_the_file(form, folder, capsys, outcome):
    path = form.write(folder)
    assert main(["measure", str(path), *form.words]) == 0
    said = capsys.readouterr()
    rows = re.findall(r"^(C\d|T\d+|L\d|Sacrum) {2}", said.out, re.MULTILINE)
    assert tuple(rows) == form.names
    assert form.message in said.out
    write_image(truth_of(form), folder / "truth.nii.gz")
    words = ["evaluate", str(path), "truth.nii.gz", "--no-distances", *form.words]
    assert main([*words, "--reference-labels", "verse"]) == 0
    said = capsys.readouterr()
    count = len(form.names)
    assert f"Named right: {count} of {count}; missed 0, extra 0" in said.out
    assert "Per vertebra, by name: Dice 1.000" in said.out
    assert form.message in said.err
    outcome("names of labels", "right")


@pytest.mark.parametrize("form", RIGHT, ids=by_kind)
def test_export_names_vertebrae_by_the_levels_of_the_file(form, folder, capsys, outcome):
    path = form.write(folder)
    words = ["export", str(path), "--stl", "out", "--smoothing", "0", *form.words]
    lost = "corrected" in form.message
    assert main(words) == (REFUSED if lost else 0)
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert tuple(v["level"] for v in manifest["vertebrae"]) == form.names
    voxels = {v["level"]: v["voxels"] for v in manifest["vertebrae"]}
    truth = truth_of(form).array
    assert voxels == {n: int((truth == BY_NAME[n].value).sum()) for n in form.names}
    assert form.message in capsys.readouterr().err
    if "," in form.message or lost:
        assert [name for name, _ in manifest["left_out"]] == form.message.split(", ")
    outcome("names of labels", "right")


@pytest.mark.parametrize("form", WRONG, ids=by_kind)
def test_labels_with_unknown_numbering_are_refused_by_every_command(form, folder, capsys, outcome):
    path = form.write(folder)
    write_image(spine(*L234), folder / "truth.nii.gz")
    commands = {
        "measure": [str(path), *form.words],
        "evaluate": [str(path), "truth.nii.gz", *form.words, "--reference-labels", "verse"],
        "resegment": ["truth.nii.gz", str(path), "new.seg.nrrd", "--level", "L3", *form.words],
    }
    if form.kind not in ("a level twice", "overlapping layers"):
        commands["export"] = [str(path), "--stl", "out", *form.words]
    for command, words in commands.items():
        assert main([command, *words]) == REFUSED, command
        said = capsys.readouterr()
        assert re.search(form.refused, said.err), (command, said.err)
        assert "Something went wrong" not in said.err
    assert not (folder / "new.seg.nrrd").exists()
    assert not (folder / "out" / "manifest.json").exists()
    outcome("names of labels", "refused")


def test_export_keeps_two_segments_of_one_level_apart(folder, outcome):
    path = segments(("L3", 1), ("L3", 2), ("L4", 3))(folder)
    assert main(["export", str(path), "--stl", "out", "--smoothing", "0"]) == 0
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    names = [v["files"][0]["name"] for v in manifest["vertebrae"]]
    assert [v["level"] for v in manifest["vertebrae"]] == ["L3", "L3", "L4"]
    assert len(set(names)) == 3
    outcome("names of labels", "right")


def test_numbers_of_totalsegmentator_1_are_recognised_if_unambiguous(folder, capsys, outcome):
    path = write_numbers(folder / "l.nii.gz", spine(*LONG), numbers_of("totalsegmentator-v1", LONG))
    code = main(["measure", str(path)])
    said = capsys.readouterr()
    # All vertebrae have the same size, so that both numberings of TotalSegmentator may fit.
    if code == 0:
        assert tuple(re.findall(r"^(T\d+) ", said.out, re.MULTILINE)) == LONG
    else:
        assert code == REFUSED
        assert "TotalSegmentator" in said.err
    outcome("names of labels", "right" if code == 0 else "refused")


def test_a_segmentation_cropped_to_its_segments_covers_the_whole_image(folder, capsys, outcome):
    whole = segments(("L2", 1), ("L3", 2), ("L4", 3))(folder)
    image = sitk.ReadImage(str(whole))
    array = sitk.GetArrayViewFromImage(image)
    boxes = [(n.min(), n.max() + 1) for n in np.nonzero(array)][::-1]
    cut = image[tuple(slice(int(low), int(high)) for low, high in boxes)]
    for key in image.GetMetaDataKeys():
        cut.SetMetaData(key, image.GetMetaData(key))
    offset = " ".join(str(low) for low, _ in boxes)
    extent = "".join(f"0;{length - 1};" for length in image.GetSize())
    cut.SetMetaData("Segmentation_ReferenceImageExtentOffset", offset)
    cut.SetMetaData(
        "Segmentation_ConversionParameters",
        "Reference image geometry|" + "1;0;0;0;" * 4 + extent + "|text",
    )
    assert cut.GetSize() != image.GetSize()
    sitk.WriteImage(cut, "cut.seg.nrrd")
    assert main(["evaluate", "cut.seg.nrrd", str(whole), "--no-distances"]) == 0
    assert "Per vertebra, by name: Dice 1.000" in capsys.readouterr().out
    tables = []
    for path in (str(whole), "cut.seg.nrrd"):
        assert main(["measure", path]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    outcome("names of labels", "right")
