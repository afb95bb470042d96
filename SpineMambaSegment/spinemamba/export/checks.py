"""Findings about an exported surface. Nothing is repaired here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.shells import Shells
from spinemamba.export.meshing.smooth import FinishedSurface
from spinemamba.protocol.flags import Flag

_VOLUME_SHARE = 0.015
_P95_MM = 0.7
"""Larger differences from the label (volume, 95th percentile of distance) are a finding."""

_TUNNELS = {"C": 3, "T": 1, "L": 1}
"""Anatomical holes of a vertebra, by the first letter of its level: the vertebral foramen and, in
the neck, two transverse foramina. The number is not defined for a sacrum."""


_NOT_REMOVED = 0.01
"""Share of triangles by which decimation may fall short without a finding."""


@dataclass(frozen=True)
class Topology:
    """Topology of a surface.

    Attributes:
        euler_number: Points minus edges plus triangles.
        faulty_edges: Edges that do not have exactly two triangles of consistent orientation.
        bodies: Connected pieces.
        largest_share: Share of the largest piece in the volume of all pieces.
        cavities: Closed cavities.
        cavity_mm3: Volume of the cavities.
        tunnels: Holes through the pieces (sum of the genera).
    """

    euler_number: int
    faulty_edges: int
    bodies: int
    largest_share: float
    cavities: int
    cavity_mm3: float
    tunnels: int

    @property
    def watertight(self) -> bool:
        """Whether every edge has exactly two triangles of consistent orientation."""
        return self.faulty_edges == 0

    @classmethod
    def of(cls, mesh: Mesh) -> Topology:
        """Return the topology of a surface; an approximation if it is not watertight."""
        shells = Shells.of(mesh)
        bodies_mm3 = shells.net_mm3[shells.is_body]
        cavities_mm3 = shells.net_mm3[~shells.is_body]
        euler = mesh.euler_number
        return cls(
            euler,
            mesh.edges.open + mesh.edges.non_manifold,
            len(bodies_mm3),
            float(bodies_mm3.max(initial=0.0) / max(bodies_mm3.sum(), 1e-9)),
            len(cavities_mm3),
            float(cavities_mm3.sum()),
            # The Euler number of a shell is 2 - 2 * tunnels.
            (2 * len(shells.volumes_mm3) - euler) // 2,
        )


def findings(
    surface: FinishedSurface, topology: Topology, level: str, cut_sides: Sequence[str]
) -> tuple[Flag, ...]:
    """Return the findings about a surface.

    Args:
        surface: The surface.
        topology: Topology of the surface.
        level: Name of the level, which defines the number of anatomical holes.
        cut_sides: Sides at which the field of view truncates the vertebra.
    """
    return (
        *_of_label(topology, level, cut_sides),
        *_of_closure(topology),
        *_of_surface(surface),
    )


def _of_label(topology: Topology, level: str, cut_sides: Sequence[str]) -> list[Flag]:
    found = []
    if cut_sides:
        sides = ", ".join(cut_sides)
        sentence = f"Cut by the image ({sides}): a flat lid closes the surface there."
        found.append(Flag("cut", None, sentence))
    if topology.bodies > 1:
        sentence = (
            f"Its surface is in {topology.bodies} pieces; the largest holds "
            f"{100 * topology.largest_share:.1f} % of the volume."
        )
        found.append(Flag("pieces", topology.bodies, sentence))
    if topology.cavities:
        found.append(Flag("cavities", topology.cavities, _hollow(topology)))
    expected = None if level in ("Sacrum", "Coccyx") else _TUNNELS.get(level[:1])
    if expected is not None and topology.tunnels > expected:
        sentence = f"{topology.tunnels} holes go through it; {level} has {expected} by nature."
        found.append(Flag("holes", topology.tunnels, sentence))
    return found


def _hollow(topology: Topology) -> str:
    several = topology.cavities > 1
    what = f"{topology.cavities} closed cavities" if several else "1 closed cavity"
    size = f"{topology.cavity_mm3:.1f}" if topology.cavity_mm3 >= 0.05 else "less than 0.1"
    return f"It is hollow: {what} of {size} cubic mm{' in all' if several else ''}."


def _of_closure(topology: Topology) -> list[Flag]:
    if topology.watertight:
        return []
    sentence = (
        f"Its surface is not closed: {topology.faulty_edges} edges do not belong to two triangles "
        "that face the same side. Repair it before printing."
    )
    return [Flag("not_closed", topology.faulty_edges, sentence)]


def _of_surface(surface: FinishedSurface) -> list[Flag]:
    found = []
    if surface.crumbs:
        sentence = (
            f"{surface.crumbs} loose pieces ({surface.crumbs_mm3:.0f} mm3) were left out as too "
            "small to print."
        )
        found.append(Flag("crumbs", surface.crumbs_mm3, sentence))
    if surface.decimation - surface.removed_share > _NOT_REMOVED:
        sentence = (
            f"{100 * surface.removed_share:.0f} % of its triangles were removed, not "
            f"{100 * surface.decimation:.0f} %: more would have changed how it "
            "hangs together, or let it cut itself."
        )
        found.append(Flag("decimation", surface.removed_share, sentence))
    if surface.intersecting:
        sentence = f"{surface.intersecting} triangles cut through others."
        found.append(Flag("self_intersection", surface.intersecting, sentence))
    if surface.held_back:
        sentence = (
            f"Smoothing was held back at {surface.held_back} points, where the surface would have "
            "cut itself."
        )
        found.append(Flag("held_back", surface.held_back, sentence))
    label_mm3 = surface.raw_surface.label_volume_mm3
    share = surface.mesh.volume_mm3 / label_mm3 - 1
    if abs(share) > _VOLUME_SHARE:
        sentence = f"The surface volume is {100 * share:+.1f} % off the label volume."
        found.append(Flag("volume", share, sentence))
    if surface.deviation.p95_mm > _P95_MM:
        sentence = (
            f"5 % of the surface lie more than {surface.deviation.p95_mm:.2f} mm off the label."
        )
        found.append(Flag("deviation", surface.deviation.p95_mm, sentence))
    return found
