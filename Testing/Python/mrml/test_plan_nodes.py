"""Lines of a plan in the scene, and the files that Slicer reads."""

from __future__ import annotations

from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer")

from spinemamba.protocol.planning.markups import ScrewLine, lines_text, read_lines  # noqa: E402
from spinemamba.protocol.planning.plan import Corridor, Pedicle, Plan  # noqa: E402
from SpineMambaSegmentLib.Scene import PlanNodes  # noqa: E402

ENTRY, TIP = (20.0, 30.0, -5.0), (12.0, -8.0, -6.0)
CORRIDOR = Corridor("suggested", ENTRY, TIP, 6.5, 40.0, 0.0, "", "A", 0.0, 0.7, 2.0, 9.0, -2.0)
PLAN = Plan("0", "0" * 64, (1.0, 1.0, 1.0), "ct", (Pedicle("L4", "left", suggestion=CORRIDOR),))


@pytest.fixture
def node(scene):
    return scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")


def test_a_corridor_becomes_a_line_that_reads_back(node):
    (line,) = PlanNodes.showLines(PLAN, node)
    assert line.GetName() == "L4 left"
    assert PlanNodes.screwLine(line) == ScrewLine("L4 left", ENTRY, TIP, 6.5)
    place = [0.0, 0.0, 0.0]
    line.GetNthControlPointPosition(0, place)
    assert place == [-20.0, -30.0, -5.0]


def test_lines_of_an_older_plan_are_replaced(node):
    PlanNodes.showLines(PLAN, node)
    PlanNodes.showLines(PLAN, node)
    assert len(PlanNodes.linesOf(node)) == 1


def test_a_line_without_its_second_end_is_no_screw(node):
    (line,) = PlanNodes.showLines(PLAN, node)
    line.RemoveNthControlPoint(1)
    assert PlanNodes.screwLine(line) is None


def test_slicer_reads_the_lines_of_a_plan_and_its_own_are_read_back(scene, tmp_path: Path):
    lines = [ScrewLine("L4 left", ENTRY, TIP, 6.5), ScrewLine("L4 right", TIP, ENTRY, 5.0)]
    path = tmp_path / "plan.mrk.json"
    path.write_text(lines_text(lines), encoding="utf-8")
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    nodes = [storage.AddNewMarkupsNodeFromFile(str(path), None, k) for k in range(2)]
    assert [node.GetName() for node in nodes] == ["L4 left", "L4 right"]
    assert [PlanNodes.screwLine(node) for node in nodes] == lines
    storage.SetFileName(str(tmp_path / "saved.mrk.json"))
    assert storage.WriteData(nodes[0])
    (saved,) = read_lines(tmp_path / "saved.mrk.json")
    assert saved.entry_lps_mm == pytest.approx(ENTRY)
    assert saved.tip_lps_mm == pytest.approx(TIP)
    assert saved.diameter_mm == 6.5
