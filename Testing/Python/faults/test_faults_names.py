"""Which vertebra is which: every form of label file, through every command that reads labels."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from made_labels import (
    Part,
    masks,
    numbers_of,
    spine,
    write_json,
    write_numbers,
    write_parts,
)

from spinemamba.cli import box as box_command
from spinemamba.cli.main import main
from spinemamba.image_io import read_labels
from spinemamba.labels import BY_NAME
from spinemamba.output import write_image
from spinemamba.volume import Volume

pytestmark = pytest.mark.faults

REFUSED = 2
L234 = ("L2", "L3", "L4")
LONG = ("T6", "T7", "T8", "T9", "T10", "T11")


@dataclass(frozen=True)
class Form:
    """A label file.

    Attributes:
        kind: What is unusual about it.
        write: Writes it into a folder and returns its path.
        names: The levels that are in it, from head to tail.
        told: What must be said on screen.
        refused: What the sentence says if it is to be refused.
        words: Further arguments of every command.
    """

    kind: str
    write: Callable[[Path], Path]
    names: tuple[str, ...]
    told: str = ""
    refused: str = ""
    words: tuple[str, ...] = ()


def segments(*parts: tuple, drawn: tuple[str, ...] = L234, suffix: str = ".seg.nrrd"):
    """Return what writes a segmentation: name, value, layer and code of each drawn vertebra."""

    def write(folder: Path) -> Path:
        volume = spine(*drawn)
        made = [Part(p[0], m, *p[1:]) for p, m in zip(parts, masks(volume, drawn), strict=False)]
        return write_parts(folder / f"labels{suffix}", volume, made)

    return write


def with_others(*names: str):
    """Return what writes three vertebrae and other structures beside them."""

    def write(folder: Path) -> Path:
        volume = spine(*L234)
        parts = [
            Part(n, m, k) for n, m, k in zip(L234, masks(volume, L234), (1, 2, 3), strict=True)
        ]
        for k, name in enumerate(names):
            block = np.zeros(volume.array.shape, bool)
            block[:2, :2, 3 * k : 3 * k + 2] = True
            parts.append(Part(name, block, 10 + k))
        return write_parts(folder / "labels.seg.nrrd", volume, parts)

    return write


def overlapping(folder: Path) -> Path:
    volume = spine(*L234)
    first, second, third = masks(volume, L234)
    parts = [Part("L2", first, 1), Part("L3", second | first, 1, 1), Part("L4", third, 2)]
    return write_parts(folder / "labels.seg.nrrd", volume, parts)


def numbers(numbers: dict[str, int], drawn: tuple[str, ...] = L234):
    return lambda folder: write_numbers(folder / "labels.nii.gz", spine(*drawn), numbers)


def upside_down(folder: Path) -> Path:
    volume = spine(*L234)
    write_image(volume.with_array(np.ascontiguousarray(volume.array[::-1])), folder / "l.nii.gz")
    return folder / "l.nii.gz"


RIGHT = [
    Form("segments in the ordinary way", segments(("L2", 21), ("L3", 22), ("L4", 23)), L234),
    Form(
        "segments renamed, values kept",
        segments(("L3", 21, 0, "L3"), ("L4", 22, 0, "L4"), ("L5", 23, 0, "L5")),
        ("L3", "L4", "L5"),
    ),
    Form(
        "segments renamed, values and codes kept",
        segments(("L3", 21, 0, "L2"), ("L4", 22, 0, "L3"), ("L5", 23, 0, "L4")),
        ("L3", "L4", "L5"),
    ),
    Form("values 1, 2, 3", segments(("L2", 1), ("L3", 2), ("L4", 3)), L234),
    Form("values of other levels", segments(("L2", 23), ("L3", 22), ("L4", 21)), L234),
    Form("two layers", segments(("L2", 1), ("L3", 1, 1), ("L4", 2)), L234),
    Form(
        "codes under names that are no level",
        segments(("upper", 5, 0, "L2"), ("middle", 6, 0, "L3"), ("L4 corrected", 7, 0, "L4")),
        L234,
    ),
    Form(
        "names of other software",
        segments(("vertebrae_L2", 1), ("l3 Vertebra", 2), ("vertebra L4", 3)),
        L234,
    ),
    Form("T13", segments(("Th12", 1), ("T13", 2), ("L1", 3)), ("T12", "T13", "L1")),
    Form("L6", segments(("L5", 4), ("L6", 1), ("S1", 2)), ("L5", "L6", "Sacrum")),
    Form(
        "segments in a plain .nrrd",
        segments(("L2", 1), ("L3", 2), ("L4", 3), suffix=".nrrd"),
        L234,
    ),
    Form(
        "other structures beside vertebrae",
        with_others("disc L3/L4", "Segment_1", "tumour"),
        L234,
        told="disc L3/L4, Segment_1, tumour",
    ),
    Form(
        "a name with another word",
        segments(("L2", 21), ("L3 corrected", 22), ("L4", 23)),
        ("L2", "L4"),
        told="L3 corrected",
    ),
    Form(
        "a code that contradicts the name",
        segments(("L2", 21), ("L3 corrected", 22, 0, "L4"), ("L4", 23)),
        ("L2", "L4"),
        told="L3 corrected",
    ),
    Form("a label image", numbers(numbers_of("verse", L234)), L234),
    Form(
        "TotalSegmentator version 2",
        numbers(numbers_of("totalsegmentator", L234)),
        L234,
        told="numbering of TotalSegmentator",
    ),
    Form(
        "TotalSegmentator version 1",
        numbers(numbers_of("totalsegmentator-v1", ("L2",)), ("L2",)),
        ("L2",),
        words=("--labels", "totalsegmentator-v1"),
    ),
    Form(
        "instances with a map",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        L234,
        words=("--labels", "names.json"),
    ),
    Form(
        "instances with nnU-Net's dataset.json",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        L234,
        words=("--labels", "dataset.json"),
    ),
    Form("upside down, but named VerSe", upside_down, L234, words=("--labels", "verse")),
]
WRONG = [
    Form(
        "a level twice",
        segments(("L3", 1), ("L3", 2), ("L4", 3)),
        (),
        refused="L3 and L3 are both L3",
    ),
    Form("overlapping layers", overlapping, (), refused=r"L2 and L3 share \d+ voxels"),
    Form(
        "two segments of one value",
        segments(("L2", 1), ("L3", 1), ("L4", 2)),
        (),
        refused="have the same voxels",
    ),
    Form(
        "names that are no level",
        segments(("Segment_1", 21), ("Segment_2", 22), ("tumour", 23)),
        (),
        refused="holds no vertebra, only Segment_1, Segment_2, tumour",
    ),
    Form(
        "a label value that is none",
        segments(("L2", 1, 0, "", {"LabelValue": "x"}), ("L3", 2), ("L4", 3)),
        (),
        refused="does not say which voxels are segment L2",
    ),
    Form(
        "a layer that is not there",
        segments(("L2", 1, 0, "", {"Layer": "7"}), ("L3", 2), ("L4", 3)),
        (),
        refused="does not say which voxels are segment L2",
    ),
    Form("instances 1, 2, 3", numbers({"L2": 1, "L3": 2, "L4": 3}), (), refused="count instances"),
    Form("instances 5, 6, 7", numbers({"L2": 5, "L3": 6, "L4": 7}), (), refused="count instances"),
    Form("instances from below", numbers({"L2": 3, "L3": 2, "L4": 1}), (), refused="upside down"),
    Form("a mask", numbers({"L2": 1, "L3": 1, "L4": 1}), (), refused="masks"),
    Form(
        "vertebrae and discs as classes",
        numbers({"L2": 1, "L3": 1, "L4": 2}),
        (),
        refused="masks of one or two structures",
    ),
    Form(
        "TotalSegmentator version 1 in the range of VerSe",
        numbers(numbers_of("totalsegmentator-v1", L234)),
        (),
        refused="TotalSegmentator version 1, or the header holds the spine upside down",
    ),
    Form("upside down", upside_down, (), refused="the header holds the spine upside down"),
    Form(
        "a numbering that nobody knows",
        numbers({"L2": 201, "L3": 202, "L4": 203}),
        (),
        refused="no levels",
    ),
    Form(
        "a map without a level",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="no name in it is a level",
        words=("--labels", "organs.json"),
    ),
    Form(
        "a map with a level twice",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="both 1 and 2 are L2",
        words=("--labels", "twice.json"),
    ),
    Form(
        "a numbering that is none",
        numbers({"L2": 1, "L3": 2, "L4": 3}),
        (),
        refused="is no numbering of labels",
        words=("--labels", "nnunet"),
    ),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the maps that forms name."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "names.json", {"vertebrae_L2": 1, "L3": 2, "L4 vertebra": 3, "disc": 4})
    labels = {"background": "0", "L2": 1, "L3": 2, "L4": 3}
    write_json(tmp_path / "dataset.json", {"labels": labels, "name": "spines"})
    write_json(tmp_path / "organs.json", {"1": "liver", "2": "spleen"})
    write_json(tmp_path / "twice.json", {"L2": 1, "vertebrae_L2": 2})
    return tmp_path


def by_kind(form: Form) -> str:
    return form.kind


def truth_of(form: Form) -> Volume:
    """Return the vertebrae of a form in VerSe's numbers, by their places in its file."""
    drawn = [name for name in L234 if name in form.names] or list(L234)
    if form.kind.startswith(("upside",)):
        volume = spine(*L234)
        return volume.with_array(np.ascontiguousarray(volume.array[::-1]))
    if len(form.names) == 1:
        return spine(*form.names)
    places = drawn if len(form.names) == 2 else L234
    volume = spine(*L234)
    out = np.zeros(volume.array.shape, np.uint8)
    for place, name in zip(places, form.names, strict=True):
        out[volume.array == BY_NAME[place].value] = BY_NAME[name].value
    return volume.with_array(out)


@pytest.mark.parametrize("form", RIGHT, ids=by_kind)
def test_measure_and_evaluate_name_vertebrae_as_the_file_does(form, folder, capsys, outcome):
    path = form.write(folder)
    assert main(["measure", str(path), *form.words]) == 0
    said = capsys.readouterr()
    rows = re.findall(r"^(C\d|T\d+|L\d|Sacrum) ", said.out, re.MULTILINE)
    assert tuple(rows) == form.names
    assert form.told in said.out
    write_image(truth_of(form), folder / "truth.nii.gz")
    words = ["evaluate", str(path), "truth.nii.gz", "--no-distances", *form.words]
    assert main([*words, "--reference-labels", "verse"]) == 0
    said = capsys.readouterr()
    count = len(form.names)
    assert f"Named right: {count} of {count}; missed 0, extra 0" in said.out
    assert "Per vertebra, by name: Dice 1.000" in said.out
    assert form.told in said.err
    outcome("names of labels", "right")


@pytest.mark.parametrize("form", RIGHT, ids=by_kind)
def test_export_writes_vertebrae_under_the_names_of_the_file(form, folder, capsys, outcome):
    path = form.write(folder)
    words = ["export", str(path), "--stl", "out", "--smoothing", "0", *form.words]
    lost = any(word in form.told for word in ("corrected", "disc L3/L4"))
    assert main(words) == (REFUSED if lost else 0)
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert tuple(v["level"] for v in manifest["vertebrae"]) == form.names
    voxels = {v["level"]: v["voxels"] for v in manifest["vertebrae"]}
    truth = truth_of(form).array
    assert voxels == {n: int((truth == BY_NAME[n].value).sum()) for n in form.names}
    assert form.told in capsys.readouterr().err
    if "," in form.told or lost:
        assert [name for name, _ in manifest["left_out"]] == form.told.split(", ")
    outcome("names of labels", "right")


@pytest.mark.parametrize("form", WRONG, ids=by_kind)
def test_what_cannot_be_told_is_refused_by_every_command(form, folder, capsys, outcome):
    path = form.write(folder)
    write_image(spine(*L234), folder / "truth.nii.gz")
    commands = {
        "measure": [str(path), *form.words],
        "evaluate": [str(path), "truth.nii.gz", *form.words, "--reference-labels", "verse"],
        "box": ["truth.nii.gz", str(path), "new.seg.nrrd", "--again", "L3", *form.words],
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


def test_totalsegmentators_first_numbers_are_known_where_no_other_has_them(folder, capsys, outcome):
    path = write_numbers(folder / "l.nii.gz", spine(*LONG), numbers_of("totalsegmentator-v1", LONG))
    code = main(["measure", str(path)])
    said = capsys.readouterr()
    # The vertebrae are all of one size, so that both of its numberings may fit.
    if code == 0:
        assert tuple(re.findall(r"^(T\d+) ", said.out, re.MULTILINE)) == LONG
    else:
        assert code == REFUSED
        assert "TotalSegmentator" in said.err
    outcome("names of labels", "right" if code == 0 else "refused")


@pytest.fixture
def found_again(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Let box find a block of voxels, and keep what it was asked."""
    asked: dict[str, object] = {}

    class Found:
        volume_ml, dice_before, seeded = 1.0, None, False

    def look(job, progress, warn):
        labels = read_labels(job.labels)
        asked["again"], asked["labels"] = job.again, labels
        mask = np.zeros(labels.array.shape, np.uint8)
        there = np.argwhere(labels.array == (job.again or 24))
        middle = there.mean(axis=0).astype(int) if len(there) else np.array([2, 2, 2])
        mask[tuple(slice(max(0, m - 2), m + 2) for m in middle)] = 1
        return labels.with_array(mask), Found

    monkeypatch.setattr(box_command, "run_box", look)
    return asked


@pytest.mark.parametrize(
    "form", [f for f in RIGHT if "L4" in f.names and f.kind.find("upside") < 0], ids=by_kind
)
def test_box_changes_the_segment_of_the_name_and_no_other(form, folder, found_again, outcome):
    import SimpleITK as sitk

    path = form.write(folder)
    suffix = ".seg.nrrd" if "nrrd" in path.name else ".nii.gz"
    words = ["box", "image", str(path), f"new{suffix}", "--again", "L4", *form.words]
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


def test_box_adds_a_missed_vertebra_beside_names_and_values_of_others(folder, found_again, outcome):
    path = with_others("tumour")(folder)
    words = ["box", "image", str(path), "new.seg.nrrd", "--at=0,0,0", "--name", "L5"]
    (folder / "image").touch()
    assert main(words) == 0
    assert main(["export", "new.seg.nrrd", "--stl", "out", "--smoothing", "0"]) == 0
    manifest = json.loads((folder / "out" / "manifest.json").read_text("utf-8"))
    assert [v["level"] for v in manifest["vertebrae"]] == [*L234, "L5"]
    assert [name for name, _ in manifest["left_out"]] == ["tumour"]
    outcome("names of labels", "right")
