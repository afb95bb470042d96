"""Leave out loose pieces of a surface that are too small to print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.shells import Shells
from spinemamba.export.meshing.smooth import FinishedSurface


def without_crumbs(surface: FinishedSurface, least_mm3: float) -> FinishedSurface:
    """Return a surface without the loose pieces below a volume; the largest piece is kept.

    A piece within a cavity is left out too; the cavity stays. The walls of cavities within a
    piece that is left out go with it.

    Args:
        surface: A finished surface.
        least_mm3: Smallest volume of a piece; 0 keeps all pieces.
    """
    if not least_mm3:
        return surface
    shells = Shells.of(surface.mesh)
    small = shells.is_body & (shells.volumes_mm3 < least_mm3)
    small &= np.arange(len(small)) != int(np.argmax(shells.volumes_mm3))
    if not small.any():
        return surface
    walls = ~shells.is_body & (shells.parents >= 0)
    dropped = small | (walls & small[shells.parents])
    mesh = _only(surface.mesh, ~dropped[shells.of_triangle])
    return replace(
        surface,
        mesh=mesh,
        crumbs=int(small.sum()),
        crumbs_mm3=float(shells.net_mm3[small].sum()),
    )


def _only(mesh: Mesh, kept: np.ndarray) -> Mesh:
    """Return a mesh with some of its triangles, without points that no triangle uses."""
    triangles = mesh.triangles[kept]
    used, numbers = np.unique(triangles, return_inverse=True)
    return Mesh(mesh.points_mm[used], numbers.reshape(triangles.shape))
