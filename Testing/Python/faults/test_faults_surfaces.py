"""Exported surfaces are described correctly and closed, and patients are not mixed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from label_file_cases import L234, segments
from synthetic_labels import spine

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing.options import FORMATS, MeshOptions
from spinemamba.export.meshing.raw_surface import Mask
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.protocol.case_source import CaseSource, Located
from spinemamba.protocol.manifest import read_manifest

trimesh = pytest.importorskip("trimesh")

pytestmark = pytest.mark.faults

REFUSED = 2
PIECES, CLOSED, PATIENTS, TOGETHER = (
    "pieces of surfaces",
    "closed surfaces",
    "two patients in a folder",
    "two exports at once",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def manifest(path: Path | str = "out") -> dict:
    return json.loads((Path(path) / "manifest.json").read_text("utf-8"))


def levels_in(path: Path | str = "out") -> list[str]:
    return [entry["level"] for entry in manifest(path)["vertebrae"]]


def part_volumes(stl: Path) -> list[float]:
    """Return the volume of each shell of a file, negative for a cavity, as trimesh finds them."""
    return [part.volume for part in trimesh.load(stl).split(only_watertight=False)]


def assert_true_of_its_file(entry: dict, path: Path | str = "out") -> None:
    """Compare the manifest entry of a surface with measurements of its files by trimesh."""
    for file in entry["files"]:
        read = trimesh.load(Path(path) / file["name"], force="mesh")
        assert read.is_watertight, file["name"]
        assert read.is_winding_consistent
        assert read.euler_number == entry["euler_number"]
        assert len(read.faces) == entry["triangles"]
        volumes = [part.volume for part in read.split(only_watertight=False)]
        counts = (sum(v > 0 for v in volumes), sum(v < 0 for v in volumes))
        assert counts == (entry["bodies"], entry["cavities"])
    assert entry["watertight"]


def filled(array: np.ndarray, value: int = 22) -> Volume:
    """Return a label image of one vertebra, L3 by default."""
    array = array.astype(np.uint8) * np.uint8(value)
    return Volume(array, Geometry(array.shape, (1.4, 1.0, 1.0), (3.0, 4.0, 5.0), np.eye(3)))


def balls(*radii: float, size: int = 34) -> np.ndarray:
    """Return nested balls: bone, cavity, bone and so on."""
    place = np.indices((size, size, size)) - size // 2
    radius = np.sqrt((place**2).sum(axis=0))
    return sum((radius < r).astype(int) for r in radii) % 2 == 1


def noise(share: float) -> np.ndarray:
    mask = np.random.default_rng(7).random((16, 16, 16)) < share
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False
    return mask


def touching(*steps: int) -> np.ndarray:
    """Return two blocks, the second one of them ``steps`` voxels away along z, y and x."""
    mask = np.zeros((20, 20, 20), bool)
    mask[3:8, 3:8, 3:8] = True
    z, y, x = (3 + step for step in steps)
    mask[z : z + 5, y : y + 5, x : x + 5] = True
    return mask


@dataclass(frozen=True)
class Shape:
    """A mask, and the true values of its surface; None if only trimesh finds them."""

    kind: str
    mask: Callable[[], np.ndarray]
    bodies: int | None
    cavities: int | None
    finding: str = ""


SHAPES = [
    Shape("one piece", lambda: balls(12), 1, 0),
    Shape("closed cavity", lambda: balls(12, 6), 1, 1, "It is hollow: 1 closed cavity of "),
    Shape(
        "hollow in hollow",
        lambda: balls(15, 12, 9, 5),
        2,
        2,
        "in 2 pieces; the largest holds 73.5 % of the volume. It is hollow: 2 closed ",
    ),
    Shape("apart", lambda: touching(0, 0, 8), 2, 0, "2 pieces; the largest holds 50.0 %"),
    Shape("touch in a corner", lambda: touching(5, 5, 5), 2, 0, "Its surface is in 2 pieces"),
    Shape("touch in an edge", lambda: touching(0, 5, 5), 2, 0, "Its surface is in 2 pieces"),
    Shape("touch in a face", lambda: touching(0, 0, 5), 1, 0),
    Shape("many pieces", lambda: noise(0.2), None, 0, " pieces; the largest"),
    Shape("many cavities", lambda: noise(0.93), None, None, " closed cavities of "),
]


@pytest.mark.parametrize("words", [[], ["--smoothing", "0"], ["--decimate", "0.9"]], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
def test_reported_pieces_and_cavities_equal_those_of_another_library(
    shape, words, folder, capsys, outcome
):
    write_image(filled(shape.mask()), folder / "a.nii.gz")
    command = ["export", "a.nii.gz", "--stl", "out", "--labels", "verse", "--keep-crumbs"]
    assert main([*command, "--formats", *FORMATS[1:], *words]) == 0
    (entry,) = manifest()["vertebrae"]
    assert_true_of_its_file(entry)
    if shape.bodies is not None:
        assert (entry["bodies"], entry["cavities"]) == (shape.bodies, shape.cavities)
    findings = " ".join(entry["findings"])
    if not words:
        assert shape.finding in findings
    if shape.kind == "closed cavity":
        wall_mm3 = -min(part_volumes(Path("out/a_L3.stl")))
        assert f"1 closed cavity of {wall_mm3:.1f} cubic mm" in findings
    shown = "".join(capsys.readouterr().out.split())
    assert all(sentence.replace(" ", "") in shown for sentence in entry["findings"])
    outcome(PIECES, "right")


def labels_of(shared_data: Path, name: str) -> Path:
    return (
        shared_data
        / {
            "tptbox": "tptbox/ct_vertebra_seg.nii.gz",
            "verse009": "verse/verse009_maskonly_seg.nii.gz",
        }[name]
    )


@pytest.mark.parametrize(
    "case",
    [
        ("tptbox", ("L3",), 0.0),
        ("tptbox", ("L3",), 0.9),
        ("verse009", ("T3", "T4", "T10", "L2"), 0.8),
        ("verse009", ("T3", "T10"), 0.9),
        ("verse009", ("T3", "L2"), 0.95),
    ],
)
def test_decimated_real_vertebrae_are_closed_and_keep_their_topology(
    case, shared_data, folder, capsys, outcome
):
    name, levels, share = case
    command = ["export", str(labels_of(shared_data, name)), "--levels", *levels, "--keep-crumbs"]
    assert main([*command, "--stl", "all"]) == 0
    assert main([*command, "--stl", "out", "--decimate", str(share)]) == 0
    assert "triangles cut" not in capsys.readouterr().out
    facts = ("bodies", "cavities", "tunnels", "euler_number", "label_volume_ml")
    for whole, few in zip(manifest("all")["vertebrae"], manifest()["vertebrae"], strict=True):
        assert_true_of_its_file(few)
        assert [few[fact] for fact in facts] == [whole[fact] for fact in facts]
        assert few["triangles"] == pytest.approx((1 - share) * whole["triangles"], abs=2)
        assert few["mesh_volume_ml"] == pytest.approx(whole["mesh_volume_ml"], rel=1e-4)
        assert few["self_intersections"] == 0
    if name == "tptbox":
        (entry,) = manifest()["vertebrae"]
        assert (entry["bodies"], entry["cavities"]) == (1, 1)
    outcome(CLOSED, "right")


def test_an_unreachable_decimation_is_reported(folder, capsys, outcome):
    write_image(filled(np.pad(np.ones((3, 3, 3), bool), 4)), folder / "a.nii.gz")
    command = ["export", "a.nii.gz", "--stl", "out", "--labels", "verse", "--decimate", "0.99"]
    assert main(command) == 0
    (entry,) = manifest()["vertebrae"]
    assert_true_of_its_file(entry)
    (sentence,) = [text for text in entry["findings"] if "were removed" in text]
    assert sentence.startswith("96 % of its triangles were removed, not 99 %")
    assert " ".join(sentence.split()[:6]) in " ".join(capsys.readouterr().out.split())
    outcome(CLOSED, "right")


def test_decimated_touching_vertebrae_share_their_contact_surface(folder, outcome):
    array = np.zeros((24, 20, 20), np.uint8)
    array[2:12, 4:16, 4:16], array[12:22, 4:16, 4:16] = 23, 22
    write_image(filled(array > 0).with_array(array), folder / "a.nii.gz")
    command = ["export", "a.nii.gz", "--stl", "out", "--labels", "verse", "--joint-smoothing"]
    assert main([*command, "--decimate", "0.5"]) == 0
    points = []
    for entry in manifest()["vertebrae"]:
        assert_true_of_its_file(entry)
        read = trimesh.load(Path("out") / entry["files"][0]["name"])
        points.append({tuple(p) for p in np.round(read.vertices, 4).tolist()})
    assert len(points[0] & points[1]) > 100
    outcome(CLOSED, "right")


def write_patient(path: Path, *names: str, moved: int = 0, larger: bool = False) -> str:
    """Write the labels of a spine; return their path."""
    volume = spine(*names)
    array = np.roll(volume.array, moved, axis=2)
    if larger:
        array = np.where(array, array, np.roll(array, 9, axis=1))
        array = np.where(array, array, np.roll(array, -9, axis=1))
    path.parent.mkdir(exist_ok=True)
    write_image(volume.with_array(array), path)
    return str(path)


def export(path: str, *words: str, out: str = "out") -> int:
    return main(["export", path, "--stl", out, "--smoothing", "0", "--labels", "verse", *words])


CLASHES = [
    ("山田.nii.gz", "鈴木.nii.gz", ()),
    ("Иванов.nii.gz", "Петров.nii.gz", ()),
    ("山田 1.nii.gz", "鈴木 1.nii.gz", ()),
    ("a b.nii.gz", "a_b.nii.gz", ()),
    ("a.b.nii.gz", "a+b.nii.gz", ()),
    ("Müller.nii.gz", "Muller.nii.gz", ()),
    ("😀.nii.gz", "🎉.nii.gz", ()),
    (f"{'x' * 70}1.nii.gz", f"{'x' * 70}2.nii.gz", ()),
    ("p1/scan.nii.gz", "p2/scan.nii.gz", ()),
    ("p1/scan.nii.gz", "p2/scan.seg.nrrd", ()),
    ("one.nii.gz", "two.nii.gz", ("--case", "case")),
]
"""Files of two patients with the same case name, or names that become the same."""


@pytest.mark.parametrize("replace", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("clash", CLASHES, ids=str)
def test_a_second_patient_in_the_export_folder_is_refused(clash, replace, folder, capsys, outcome):
    first, second, words = clash
    one = write_patient(folder / first, *L234)
    two = write_patient(folder / second, *L234, "L5", moved=9)
    assert export(one, "--levels", "L2", "L3", *words) == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    more = ["--overwrite"] if replace else ["--levels", "L5"]
    assert export(two, *more, *words) == REFUSED
    said = capsys.readouterr().err
    assert "Choose another folder" in said
    assert "The folder " in said
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert export(two, *words, out="other") == 0
    assert levels_in("other") == [*L234, "L5"]
    outcome(PATIENTS, "refused")


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"names": ("L4", "L5")}, "the labels have no level in common"),
        ({"names": ("L2", "L3"), "moved": 9}, "mL, 16 mm away"),
        ({"names": ("L2", "L3"), "larger": True}, "45.86 mL, here 94.58 mL"),
    ],
    ids=["other levels", "elsewhere", "another size"],
)
def test_another_patient_of_the_same_name_is_detected_by_the_labels(
    second, says, folder, capsys, outcome
):
    one = write_patient(folder / "p1" / "scan.nii.gz", "L2", "L3")
    names = second.pop("names")
    two = write_patient(folder / "p2" / "scan.nii.gz", *names, **second)
    assert export(one) == 0
    assert export(two, "--levels", names[-1], "--overwrite") == REFUSED
    said = capsys.readouterr().err
    assert "The folder already holds the case 'scan' of another input" in said
    assert says in said
    assert levels_in() == ["L2", "L3"]
    outcome(PATIENTS, "refused")


def test_a_corrected_segmentation_can_be_exported_into_its_folder(folder, outcome):
    path = write_patient(folder / "山田 b.nii.gz", *L234)
    assert export(path, "--levels", "L2") == 0
    assert export(path, "--levels", "L3") == 0
    volume = read_labels(folder / "山田 b.nii.gz")
    corrected = volume.array.copy()
    corrected[(corrected == BY_NAME["L4"].value) & (np.indices(corrected.shape)[1] % 3 == 0)] = 0
    write_image(volume.with_array(corrected), folder / "山田 b.nii.gz")
    assert export(path, "--levels", "L4") == 0
    assert export(path, "--overwrite") == 0
    assert levels_in() == list(L234)
    names = {path.name for path in Path("out").iterdir()}
    assert all(name.isascii() for name in names)
    outcome(PATIENTS, "right")


def test_a_manifest_of_an_earlier_version_is_continued(folder, outcome):
    path = write_patient(folder / "scan.nii.gz", *L234)
    assert export(path, "--levels", "L2") == 0
    values = manifest()
    del values["source"]
    Path("out/manifest.json").write_text(json.dumps(values), encoding="utf-8")
    assert export(path, "--levels", "L3") == 0
    assert levels_in() == ["L2", "L3"]
    assert sorted(manifest()["source"]["vertebrae"]) == list(L234)
    outcome(PATIENTS, "right")


def test_the_manifest_has_no_character_left_out_of_the_file_names(folder, outcome):
    path = write_patient(folder / "Tanaka 山田.nii.gz", *L234)
    assert export(path, "--levels", "L2") == 0
    for file in Path("out").iterdir():
        assert "山田".encode() not in file.read_bytes()
        assert "\\u5c71" not in file.read_text("latin-1")
    outcome(PATIENTS, "right")


def block(level: str, **more) -> Vertebra:
    mask = Mask(np.ones((4, 5, 6), np.uint8))
    return Vertebra(level, lambda: mask, lambda index: index * 1.5, **more)


def test_concurrent_exports_are_all_in_the_manifest(folder, outcome):
    options = MeshOptions()
    target = Target(folder, left_out=(("screw", "no level"),))
    runs = [Export([block(a), block(b)], target, options) for a, b in (("L1", "L2"), ("L3", "L4"))]
    for steps in zip(*(run.steps() for run in runs), strict=True):
        assert all(step.level for step in steps)
    there = read_manifest(folder)
    assert [v.level for v in there.vertebrae] == ["L1", "L2", "L3", "L4"]
    assert there.left_out == (("screw", "no level"),)
    assert len(list(folder.glob("*.stl"))) == 4
    outcome(TOGETHER, "right")


def test_a_concurrent_export_of_a_second_patient_is_refused(folder, outcome):
    sources = [CaseSource.of("a", {"L1": Located((0, 0, z), 20.0)}) for z in (0.0, 40.0)]
    runs = [
        Export([block(level)], Target(folder, "a", source=source), MeshOptions())
        for level, source in zip(("L1", "L2"), sources, strict=True)
    ]
    runs[0].run()
    with pytest.raises(UserError, match="of another input: L1 there has 20"):
        runs[1].run()
    assert [path.name for path in folder.glob("*.stl")] == ["a_L1.stl"]
    outcome(TOGETHER, "refused")


def test_concurrent_commands_are_all_in_the_manifest(folder, outcome):
    path = write_patient(folder / "scan.nii.gz", *L234)
    command = [sys.executable, "-m", "spinemamba", "export", path, "--stl", "out", "--yes"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(sys.modules["spinemamba"].__file__).parents[1]),
    }
    running = [
        subprocess.Popen([*command, "--levels", level], env=environment, stdout=subprocess.DEVNULL)
        for level in L234
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert levels_in() == list(L234)
    surfaces = [f"scan_{level}.stl" for level in L234]
    there = sorted(path.name for path in Path("out").iterdir())
    assert there == ["manifest.csv", "manifest.json", *surfaces]
    outcome(TOGETHER, "right")


def test_a_segment_that_is_not_a_level_is_reported_and_in_the_manifest(folder, capsys, outcome):
    path = segments(("L2", 21), ("L3 corrected", 22), ("L4", 23))(folder)
    assert main(["export", str(path), "--stl", "out", "--smoothing", "0"]) == REFUSED
    assert levels_in() == ["L2", "L4"]
    ((name, reason),) = manifest()["left_out"]
    assert name == "L3 corrected"
    assert f"L3 corrected ({reason})" in capsys.readouterr().err
    outcome("names of labels", "right")
