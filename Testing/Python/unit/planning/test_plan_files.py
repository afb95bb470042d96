"""Files of a plan: command, tables, lines of Slicer, stored vertebrae."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from admesh_check import solid_by_admesh
from analytic_pedicles import draw_vertebra, random_vertebra

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.imaging.write import write_image
from spinemamba.planning.line_assessment import assess_line
from spinemamba.planning.plan_spine import plan_spine
from spinemamba.planning.stored_bones import read_bones, write_bones
from spinemamba.protocol.planning.markups import ScrewLine, lines_text, read_lines
from spinemamba.protocol.planning.plan import GUIDE_NOTICE, NOTICE, read_plan
from spinemamba.protocol.planning.screws import USUAL, read_screws

LINES = [
    ScrewLine("L4 left", (1.0, -2.0, 3.5), (4.0, -42.0, 3.0), 6.5),
    ScrewLine("L4 right", (-1.0, -2.0, 3.5), (-4.0, -42.0, 3.0), None),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with labels, and the plan that the command made of them."""
    folder = tmp_path_factory.mktemp("plan")
    labels = draw_vertebra(random_vertebra(1), (1.2, 1.0, 1.0), np.eye(3))
    write_image(labels, folder / "spine.nii.gz")
    words = ["plan", str(folder / "spine.nii.gz"), str(folder / "out"), "--labels", "verse"]
    assert main([*words, "--levels", "L3-L4", "--guides"]) == ExitCode.DONE
    return folder


def test_the_command_writes_plan_tables_lines_and_solids(folder: Path):
    out = folder / "out"
    plan = read_plan(out / "spine_plan.json")
    assert [p.name for p in plan.pedicles] == ["L3 left", "L3 right"]
    assert plan.notice == NOTICE
    kinds = {file.name: file.kind for file in plan.files}
    assert kinds == {
        "spine_L3_left_corridor.stl": "corridor",
        "spine_L3_right_corridor.stl": "corridor",
        "spine_L3_guide.stl": "guide",
    }
    for file in plan.files:
        solid = trimesh.load(out / file.name)
        assert file.watertight
        assert solid.is_watertight
        assert solid.body_count == 1
        assert (file.unit, plan.coordinate_system) == ("mm", "LPS")
    guide = next(file for file in plan.files if file.kind == "guide")
    assert guide.notice == GUIDE_NOTICE
    assert b"NOT FOR USE IN PATIENTS" in (out / guide.name).read_bytes()[:80]
    head, *rows = (out / "spine_plan.csv").read_text("utf-8").splitlines()
    assert head == f"# {NOTICE}"
    table = list(csv.DictReader(rows))
    assert [row["screw_grade"] for row in table] == ["A", "A"]
    assert float(table[0]["width_mm"]) == pytest.approx(plan.pedicles[0].width_mm, abs=0.006)
    assert read_screws(out / "spine_screws.csv") == USUAL


def test_admesh_finds_no_fault_in_the_solids_of_a_plan(folder: Path):
    plan = read_plan(folder / "out" / "spine_plan.json")
    assert {file.kind for file in plan.files} == {"corridor", "guide"}
    for file in plan.files:
        found = solid_by_admesh(folder / "out" / file.name)
        assert (found.faults, found.pieces) == ({}, 1), file.name
        assert found.volume > 0
        # The entries of a guide, and both ends of a corridor, in LPS and mm.
        for pedicle in plan.pedicles:
            corridor = pedicle.suggestion
            entry, tip = np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)
            if file.kind == "guide":
                assert (found.low < entry + 20).all()
                assert (found.high > entry - 20).all()
            elif pedicle.side in file.name:
                middle = (found.low + found.high) / 2
                assert middle == pytest.approx((entry + tip) / 2, abs=0.05)


def test_the_cylinder_lies_where_the_plan_says(folder: Path):
    plan = read_plan(folder / "out" / "spine_plan.json")
    solid = trimesh.load(folder / "out" / "spine_L3_left_corridor.stl")
    corridor = plan.pedicles[0].suggestion
    middle = (np.array(corridor.entry_lps_mm) + np.array(corridor.tip_lps_mm)) / 2
    assert solid.center_mass == pytest.approx(middle, abs=1e-3)


def test_the_lines_of_a_plan_are_tested_as_it_says(folder: Path):
    lines = folder / "out" / "spine_plan.mrk.json"
    words = ["plan", str(folder / "spine.nii.gz"), str(folder / "again"), "--labels", "verse"]
    assert main([*words, "--lines", str(lines)]) == ExitCode.DONE
    for pedicle in read_plan(folder / "again" / "spine_plan.json").pedicles:
        (screw,) = pedicle.screws
        assert screw.grade == pedicle.suggestion.grade == "A"
        assert screw.diameter_mm == pedicle.suggestion.diameter_mm
        assert screw.length_mm == pytest.approx(pedicle.suggestion.length_mm, abs=1.0)


def test_nothing_is_overwritten_unasked(folder: Path, capsys):
    words = ["plan", str(folder / "spine.nii.gz"), str(folder / "out"), "--labels", "verse"]
    assert main(words) == ExitCode.USER_ERROR
    assert "spine_plan.json" in capsys.readouterr().err


def test_a_level_that_is_not_there_is_refused(folder: Path, tmp_path: Path, capsys):
    words = ["plan", str(folder / "spine.nii.gz"), str(tmp_path), "--labels", "verse"]
    assert main([*words, "--levels", "T4"]) == ExitCode.USER_ERROR
    assert "None of the levels" in capsys.readouterr().err


def test_lines_are_read_back_as_written(tmp_path: Path):
    path = tmp_path / "lines.mrk.json"
    path.write_text(lines_text(LINES), encoding="utf-8")
    assert read_lines(path) == LINES


def test_lines_in_ras_are_converted(tmp_path: Path):
    content = json.loads(lines_text(LINES[:1]))
    (markup,) = content["markups"]
    markup["coordinateSystem"] = "RAS"
    path = tmp_path / "lines.mrk.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_lines(path)[0].entry_lps_mm == (-1.0, 2.0, 3.5)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(coordinateSystem="IJK"),
        lambda m: m["controlPoints"].pop(),
        lambda m: m["controlPoints"][0].update(position=[1, 2]),
        lambda m: m["controlPoints"][0].update(positionStatus="undefined"),
        lambda m: m.pop("controlPoints"),
        lambda m: m.update(type="Fiducial"),
    ],
)
def test_a_file_without_proper_lines_is_refused(change, tmp_path: Path):
    content = json.loads(lines_text(LINES[:1]))
    change(content["markups"][0])
    path = tmp_path / "lines.mrk.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"lines\.mrk\.json has no line"):
        read_lines(path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "region,diameter_mm\nlumbar,6\n", "column 'length_mm' is missing"),
        ("a.csv", "region,diameter_mm,length_mm\nsacral,6,40\n", "one of cervical"),
        ("a.csv", "region,diameter_mm,length_mm\nlumbar,60,40\n", "at most 12"),
        ("a.csv", "region,diameter_mm,length_mm\nlumbar,six,40\n", "six"),
        ("a.csv", "region,diameter_mm,length_mm\n", "has no screw"),
        ("a.json", '{"schema": 1, "screws": []}', "has no screw"),
        ("a.json", '{"schema": 9, "screws": []}', "schema"),
    ],
)
def test_a_wrong_table_of_screws_is_refused(name: str, text: str, said: str, tmp_path: Path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_screws(tmp_path / name)


def test_stored_vertebrae_give_the_same_tests(tmp_path: Path):
    planned = plan_spine(draw_vertebra(random_vertebra(1), (1.2, 1.0, 1.0), np.eye(3)))
    write_bones(planned.bones, planned.turn, tmp_path / "bones.npz")
    stored = read_bones(tmp_path / "bones.npz")
    corridor = planned.plan.pedicles[0].suggestion
    moved = np.array(corridor.entry_lps_mm) - [3.0, 0, 0]
    for start in (corridor.entry_lps_mm, tuple(moved)):
        line = ScrewLine("", start, corridor.tip_lps_mm, 6.0)
        first = assess_line(planned.bones, planned.turn, line)
        second = assess_line(stored.bones, stored.turn, line)
        assert first[:2] == second[:2]
        assert second[2].breach_mm == pytest.approx(first[2].breach_mm, abs=0.02)
        assert second[2].grade == first[2].grade
