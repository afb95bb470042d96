"""Pieces, cavities and closed surfaces, compared with what another library finds."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from spinemamba.export.checks import Topology, findings
from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing import formats
from spinemamba.export.meshing.decimate import decimated
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask, make_raw_surface
from spinemamba.export.meshing.shells import Shells
from spinemamba.export.meshing.smooth import FinishedSurface, finish, smooth
from spinemamba.export.meshing.vtk_surface import surface_of

trimesh = pytest.importorskip("trimesh")

SIZE = 30
Z, Y, X = np.indices((SIZE, SIZE, SIZE)) - SIZE // 2


def ball(radius: float, x: int = 0) -> np.ndarray:
    return (X - x) ** 2 + Y**2 + Z**2 < radius**2


def blocks(*corners: tuple[int, int, int]) -> np.ndarray:
    """Blocks of 3 voxels, given their first corners."""
    mask = np.zeros((12, 12, 12), bool)
    for z, y, x in corners:
        mask[z : z + 3, y : y + 3, x : x + 3] = True
    return mask


def noise(share: float) -> np.ndarray:
    return np.random.default_rng(3).random((16, 16, 16)) < share


FORMS: dict[str, tuple[Callable[[], np.ndarray], int | None, int | None]] = {
    "ball": (lambda: ball(9), 1, 0),
    "closed cavity": (lambda: ball(12) & ~ball(6), 1, 1),
    "two cavities": (lambda: ball(14) & ~ball(4, 6) & ~ball(4, -6), 1, 2),
    "hollow ball in a hollow ball": (lambda: ball(14) & ~ball(11) | ball(8) & ~ball(4), 2, 2),
    "three balls apart": (lambda: ball(4) | ball(3, 9) | ball(3, -9), 3, 0),
    "hollow ball beside a ball": (lambda: ball(8, -6) & ~ball(4, -6) | ball(4, 9), 2, 1),
    "blocks touch in an edge": (lambda: blocks((2, 2, 2), (2, 5, 5)), 2, 0),
    "blocks touch in a corner": (lambda: blocks((2, 2, 2), (5, 5, 5)), 2, 0),
    "one voxel": (lambda: np.ones((1, 1, 1), bool), 1, 0),
    "plate": (lambda: np.ones((1, 9, 9), bool), 1, 0),
    "many pieces": (lambda: noise(0.2), None, None),
    "many cavities": (lambda: noise(0.9), None, None),
}
"""Masks, with the numbers of their pieces and cavities if known."""


def by_trimesh(mesh: Mesh) -> tuple[int, int]:
    """Return the numbers of bodies and cavities that trimesh finds in the STL file of a surface."""
    data = formats.stl(mesh, "LPS", (0, 0, 0))
    read = trimesh.load(trimesh.util.wrap_as_stream(data), file_type="stl")
    assert read.is_watertight
    assert read.is_winding_consistent
    volumes = [part.volume for part in read.split(only_watertight=False)]
    return sum(v > 0 for v in volumes), sum(v < 0 for v in volumes)


def made_of(mask: np.ndarray, options: MeshOptions) -> FinishedSurface:
    raw_surface = make_raw_surface(
        Mask(mask), lambda index: index * np.array([1.0, 1.0, 1.4]), options
    )
    return finish(raw_surface, smooth(raw_surface, options), options)


def shuffled(mesh: Mesh, seed: int) -> Mesh:
    """Return the same surface with its points and triangles in another order."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(mesh.points_mm))
    triangles = np.argsort(order)[mesh.triangles]
    return Mesh(mesh.points_mm[order], random.permutation(triangles))


@pytest.mark.parametrize("form", FORMS)
def test_pieces_and_cavities_equal_those_of_another_library(form):
    make, bodies, cavities = FORMS[form]
    mesh = surface_of(make())
    truth = by_trimesh(mesh)
    for seed in range(3):
        found = Topology.of(shuffled(mesh, seed))
        assert (found.bodies, found.cavities) == truth
        assert found.largest_share == pytest.approx(Topology.of(mesh).largest_share)
        assert found.cavity_mm3 == pytest.approx(Topology.of(mesh).cavity_mm3)
    if bodies is not None:
        assert truth == (bodies, cavities)


@pytest.mark.parametrize("share", [0.0, 0.8, 0.99])
@pytest.mark.parametrize("form", FORMS)
def test_a_decimated_surface_is_closed_and_keeps_pieces_cavities_and_holes(form, share):
    mask = FORMS[form][0]()
    whole = made_of(mask, MeshOptions())
    made = made_of(mask, MeshOptions(decimation=share)) if share else whole
    before, after = Topology.of(whole.mesh), Topology.of(made.mesh)
    assert after.watertight
    assert by_trimesh(made.mesh) == (after.bodies, after.cavities)
    facts = ("euler_number", "bodies", "cavities", "tunnels")
    assert [getattr(after, f) for f in facts] == [getattr(before, f) for f in facts]
    assert made.mesh.volume_mm3 == pytest.approx(whole.mesh.volume_mm3, rel=0.002)
    assert made.intersecting == 0
    reported = {flag.name for flag in findings(made, after, "L1", ())}
    assert "not_closed" not in reported
    assert ("decimation" in reported) == (made.removed_share < share - 0.01)


def test_volumes_of_pieces_exclude_enclosed_cavities():
    inner, outer = ball(8) & ~ball(4), ball(14) & ~ball(11)
    found = Topology.of(surface_of(inner | outer))
    assert found.largest_share == pytest.approx(outer.sum() / (inner | outer).sum(), abs=0.01)
    assert found.cavity_mm3 == pytest.approx((ball(11) & ~ball(8) | ball(4)).sum(), rel=0.03)
    shells = Shells.of(surface_of(ball(12) & ~ball(6)))
    assert sorted(shells.parents.tolist()) == [-1, int(np.argmax(shells.volumes_mm3))]


def test_a_surface_without_triangles_has_no_pieces():
    found = Topology.of(surface_of(np.zeros((3, 3, 3))))
    assert (found.bodies, found.cavities, found.cavity_mm3) == (0, 0, 0.0)
    assert len(decimated(surface_of(np.zeros((3, 3, 3))), 0.9).triangles) == 0


def test_decimation_reaches_its_target_within_two_triangles():
    mesh = surface_of(ball(12))
    for share in (0.1, 0.5, 0.9):
        left = len(decimated(mesh, share).triangles)
        assert 0 <= left - (1 - share) * len(mesh.triangles) <= 2


def test_fixed_points_do_not_move_in_decimation():
    mesh = surface_of(ball(12))
    fixed = mesh.points_mm[:, 2] > 0
    few = decimated(mesh, 0.9, fixed)
    kept = {tuple(p) for p in few.points_mm.round(6).tolist()}
    assert {tuple(p) for p in mesh.points_mm[fixed].round(6).tolist()} <= kept


def test_an_open_surface_is_reported():
    made = made_of(ball(9), MeshOptions())
    opened = Mesh(made.mesh.points_mm, made.mesh.triangles[:-2])
    flags = {f.name: f for f in findings(made, Topology.of(opened), "L1", ())}
    assert flags["not_closed"].value == 4
    assert flags["not_closed"].sentence == (
        "Its surface is not closed: 4 edges do not belong to two triangles that face the same "
        "side. Repair it before printing."
    )


def test_coincident_points_are_merged_as_stl_readers_do():
    mesh = surface_of(ball(5))
    moved = mesh.points_mm.copy()
    moved[mesh.triangles[0, 1]] = moved[mesh.triangles[0, 0]]
    welded = mesh.moved_to(moved).welded()
    assert len(welded.points_mm) == len(mesh.points_mm) - 1
    assert len(welded.triangles) == len(mesh.triangles) - 2
    assert Topology.of(welded).watertight
    assert mesh.welded() is mesh


@pytest.mark.parametrize(
    ("away_mm", "spacing_mm", "written"), [(1e6, 0.3, True), (1e7, 1.0, False)]
)
def test_a_surface_beyond_the_precision_of_the_format_is_left_out(
    tmp_path, away_mm, spacing_mm, written
):
    item = Vertebra("L1", lambda: Mask(ball(8)), lambda index: index * spacing_mm + away_mm)
    manifest = Export([item], Target(tmp_path), MeshOptions()).run()
    assert bool(manifest.vertebrae) == written
    if written:
        assert manifest.vertebrae[0].watertight
        return
    ((level, reason),) = manifest.left_out
    assert level == "L1"
    assert reason == (
        "It lies 10 km from the origin, where 32-bit coordinates are coarser than its voxels."
    )


@pytest.mark.parametrize(
    ("radii", "sentence"),
    [
        ((12, 6), r"It is hollow: 1 closed cavity of 12\d\d\.\d cubic mm\."),
        ((12, 0.5), r"It is hollow: 1 closed cavity of less than 0\.1 cubic mm\."),
    ],
)
def test_a_cavity_is_reported_with_its_size(radii, sentence):
    made = made_of(ball(radii[0]) & ~ball(radii[1]), MeshOptions())
    (flag,) = [f for f in findings(made, Topology.of(made.mesh), "L1", ()) if f.name == "cavities"]
    assert re.fullmatch(sentence, flag.sentence)
