"""Labels written back by a command keep the names, values, layers and tags of other segments."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from label_file_cases import (
    L234,
    RIGHT,
    Part,
    by_kind,
    masks,
    spine,
    truth_of,
    with_others,
    write_maps,
    write_numbers,
    write_parts,
)
from synthetic_labels import result_of

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.cli.results import resegment as resegment_command
from spinemamba.imaging.read import read_labels
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.result import read_result

pytestmark = pytest.mark.faults

REFUSED = 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with the label maps of the cases."""
    monkeypatch.chdir(tmp_path)
    write_maps(tmp_path)
    return tmp_path


@pytest.fixture
def found_again(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Let the network find a block of voxels, and keep what it was asked."""
    asked: dict[str, object] = {}

    class Found:
        volume_ml, dice_before, seeded = 1.0, None, False

    def look(job, progress, warn):
        labels = read_labels(job.labels)
        asked["again"], asked["labels"] = job.replaced_label, labels
        mask = np.zeros(labels.array.shape, np.uint8)
        there = np.argwhere(labels.array == (job.replaced_label or 24))
        middle = there.mean(axis=0).astype(int) if len(there) else np.array([2, 2, 2])
        mask[tuple(slice(max(0, m - 2), m + 2) for m in middle)] = 1
        return labels.with_array(mask), Found

    monkeypatch.setattr(resegment_command, "run_resegmentation", look)
    return asked


@pytest.mark.parametrize(
    "form", [f for f in RIGHT if "L4" in f.names and f.kind.find("upside") < 0], ids=by_kind
)
def test_resegmentation_changes_only_the_named_segment(form, folder, found_again, outcome):
    path = form.write(folder)
    suffix = ".seg.nrrd" if "nrrd" in path.name else ".nii.gz"
    words = ["resegment", "image", str(path), f"new{suffix}", "--level", "L4", *form.words]
    (folder / "image").touch()
    assert main(words) == 0
    truth = truth_of(form).array
    assert found_again["again"] == BY_NAME["L4"].value
    np.testing.assert_array_equal(found_again["labels"].array, truth)
    before, after = (sitk.ReadImage(str(p)) for p in (path, folder / f"new{suffix}"))
    if suffix == ".seg.nrrd":
        for key in before.GetMetaDataKeys():
            if re.match(r"Segment\d", key) and not key.endswith("Extent"):
                assert after.GetMetaData(key) == before.GetMetaData(key), key
    old, new = (np.atleast_3d(sitk.GetArrayFromImage(i)) for i in (before, after))
    elsewhere = truth != BY_NAME["L4"].value
    changed = (old != new).reshape(*truth.shape, -1).any(axis=-1)
    assert changed.any()
    assert not (changed & elsewhere & (truth != 0)).any()
    outcome("names of labels", "right")


def test_a_missed_vertebra_is_added_and_other_names_and_values_stay(folder, found_again, outcome):
    path = with_others("tumour")(folder)
    words = ["resegment", "image", str(path), "new.seg.nrrd", "--point=0,0,0", "--name", "L5"]
    (folder / "image").touch()
    assert main(words) == 0
    assert main(["export", "new.seg.nrrd", "--stl", "out", "--smoothing", "0"]) == 0
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert [v["level"] for v in manifest["vertebrae"]] == [*L234, "L5"]
    assert [name for name, _ in manifest["left_out"]] == ["tumour"]
    outcome("names of labels", "right")


def test_relabel_changes_names_and_colours_of_vertebrae_only(folder, outcome):
    volume = spine(*L234)
    result_of(volume, L234).write(folder / "a_result.json")
    block = np.zeros(volume.array.shape, bool)
    block[:2, :2, :2] = True
    # The tumour has the value that L5 will get.
    parts = [
        Part(n, m, BY_NAME[n].value, code=n) for n, m in zip(L234, masks(volume, L234), strict=True)
    ]
    tumour = Part("tumour", block, 24, fields={"Color": "0.9 0.1 0.2", "Tags": "Mine:yes|"})
    path = write_parts(folder / "a.seg.nrrd", volume, [*parts, tumour])
    assert main(["relabel", "a_result.json", str(path), "b.seg.nrrd", "--pin", "L5#3"]) == 0
    after = read_vertebra_labels(folder / "b.seg.nrrd")
    old, new = ([BY_NAME[name].value for name in names] for names in (L234, ("L3", "L4", "L5")))
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(after.volume.array == b, volume.array == a)
    assert [name for name, _ in after.left_out] == ["tumour"]
    (kept,) = (x.segment for x in after.file.labels if x.level is None)
    np.testing.assert_array_equal(after.file.layers[0].array == kept.value, block)
    assert after.file.header[f"Segment{kept.number}_Color"] == "0.9 0.1 0.2"
    assert kept.tags == {"Mine": "yes"}
    ids = [x.segment.segment_id for x in after.file.vertebrae]
    assert ids == ["V22", "V23", "V24"]
    assert [x.segment.value for x in after.file.vertebrae] == new
    assert [i.name for i in read_result(folder / "b_result.json").instances] == ["L3", "L4", "L5"]
    outcome("names of labels", "right")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volume_ml": 30.0}, "mL, the run found 30.0 mL"),
        ({"centroid_lps_mm": (0.0, 0.0, 50.0)}, "mm away from where the run found it"),
    ],
    ids=["volume", "centroid"],
)
def test_relabel_refuses_labels_that_do_not_match_the_result(change, says, folder, capsys, outcome):
    volume = spine(*L234)
    result = result_of(volume, L234)
    first = replace(result.instances[0], **change)
    replace(result, instances=(first, *result.instances[1:])).write(folder / "a_result.json")
    write_numbers(folder / "a.nii.gz", volume, {name: BY_NAME[name].value for name in L234})
    assert main(["relabel", "a_result.json", "a.nii.gz", "b.seg.nrrd", "--pin", "L5#3"]) == REFUSED
    said = capsys.readouterr().err
    assert "The labels do not belong to this result.json" in said
    assert says in said
    assert not (folder / "b.seg.nrrd").exists()
    assert not (folder / "b_result.json").exists()
    outcome("names of labels", "refused")


def test_relabel_refuses_labels_of_another_segmentation_of_the_same_scan(
    shared_data, folder, capsys, outcome
):
    labels = shared_data / "tptbox" / "ct_vertebra_seg.nii.gz"
    volume = read_labels(labels)
    result = result_of(volume, L234)
    # Levels that a run of the bundled model finds in this scan.
    found_ml = dict(zip(L234, (24.9, 64.7, 42.7), strict=True))
    instances = [replace(i, volume_ml=found_ml[i.name]) for i in result.instances]
    replace(result, instances=tuple(instances)).write(folder / "a_result.json")
    assert main(["relabel", "a_result.json", str(labels), "b.seg.nrrd"]) == REFUSED
    assert "L2 has 22.2 mL, the run found 24.9 mL" in capsys.readouterr().err
    outcome("names of labels", "refused")
