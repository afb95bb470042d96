"""Functions of VTK for surfaces, with arrays as input and output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints, vtkSMPTools
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkFiltersCore import (
    vtkFlyingEdges3D,
    vtkImplicitPolyDataDistance,
    vtkWindowedSincPolyDataFilter,
)

from spinemamba.export.meshing.mesh import Mesh

_ITERATIONS = 20
"""Degree of the filter. A higher degree does not smooth more, but causes ringing: on spheres and
tori with slices of 2 to 3 mm, 20 stayed within half a voxel diagonal of the truth; 32 and 60 did
not."""


def surface_of(mask: np.ndarray) -> Mesh:
    """Return the surface half way between voxels inside and outside.

    Flying edges (Schroeder et al., LDAV 2015) with the cases of marching cubes: closed, and every
    edge has two triangles.

    Args:
        mask: Mask, shape (z, y, x). Voxels outside of the array count as background.

    Returns:
        A surface with points in voxels, (x, y, z) from the centre of the first voxel, facing
        outwards in a right-handed grid. It has no triangle if the mask is empty.
    """
    return _contour(np.pad(mask != 0, 1).astype(np.uint8), 0.5)


def contour_of(distance: np.ndarray) -> Mesh:
    """Return the surface on which a signed distance is zero.

    Args:
        distance: Distance at the nodes, negative inside, shape (z, y, x); no node is exactly zero.
            Outside of the array is outside of the solid.

    Returns:
        A closed surface as from `surface_of`, with points between the nodes.
    """
    outside = np.abs(distance).max(initial=1.0)
    padded = np.pad(-distance, 1, constant_values=-outside).astype(np.float32)
    return _contour(padded, 0.0)


def _contour(padded: np.ndarray, level: float) -> Mesh:
    """Return the surface at a level of values with a margin of one node; higher is inside."""
    depth, height, width = padded.shape
    image = vtkImageData()
    image.SetExtent(-1, width - 2, -1, height - 2, -1, depth - 2)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel()))
    filter_ = vtkFlyingEdges3D()
    filter_.SetInputData(image)
    filter_.SetValue(0, level)
    for switch_off in ("Normals", "Gradients", "Scalars"):
        getattr(filter_, f"Compute{switch_off}Off")()
    filter_.Update()
    return _mesh(filter_.GetOutput())


@dataclass(frozen=True)
class Filter:
    """A windowed sinc filter.

    Attributes:
        pass_band: Pass band of VTK's filter.
        iterations: Degree of the filter.
    """

    pass_band: float
    iterations: int

    @classmethod
    def of(cls, strength: float, slices_for_one: int = 1) -> Filter:
        """Return the filter of a strength, on the scale of Slicer's "Smoothing factor".

        Args:
            strength: In (0, 1].
            slices_for_one: Number of interpolated slices that replace one. The triangles are
                smaller by this factor: the pass band for the same detail in millimetres falls with
                the square of their edge length, and the degree that resolves it grows with its
                inverse.
        """
        iterations = round(_ITERATIONS * slices_for_one**0.5)
        return cls(10.0 ** (-4.0 * strength) / slices_for_one, iterations)


def smoothed(mesh: Mesh, sinc: Filter) -> Mesh:
    """Smooth the steps of a surface with little shrinkage.

    Windowed sinc filter (Taubin, Zhang, Golub, ECCV 1996), applied in millimetres, so that
    anisotropic voxels are smoothed equally in all directions.

    Args:
        mesh: Closed surface; non-manifold edges are smoothed like all others.
        sinc: Parameters of the filter.
    """
    filter_ = vtkWindowedSincPolyDataFilter()
    filter_.SetInputData(_polydata(mesh))
    filter_.SetNumberOfIterations(sinc.iterations)
    filter_.SetPassBand(sinc.pass_band)
    filter_.BoundarySmoothingOff()
    filter_.FeatureEdgeSmoothingOff()
    filter_.NonManifoldSmoothingOn()
    filter_.NormalizeCoordinatesOn()
    filter_.Update()
    return mesh.moved_to(_points(filter_.GetOutput()))


def share_cores() -> None:
    """Let VTK's filters use all cores in this process.

    Slicer's VTK does so by default; the one from PyPI uses one core.
    """
    if vtkSMPTools.GetBackend() == "Sequential":
        vtkSMPTools.SetBackend("STDThread")


def distances_mm(points_mm: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Return the distance of points, shape (points, 3), from a surface."""
    distance = vtkImplicitPolyDataDistance()
    distance.SetInput(_polydata(mesh))
    signed = numpy_to_vtk(np.zeros(len(points_mm)))
    places = np.ascontiguousarray(points_mm, float)
    distance.FunctionValue(numpy_to_vtk(places), signed)
    return np.abs(vtk_to_numpy(signed))


def _polydata(mesh: Mesh) -> vtkPolyData:
    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.points_mm, float), deep=True))
    offsets = np.arange(0, 3 * len(mesh.triangles) + 1, 3, dtype=np.int64)
    numbers = np.ascontiguousarray(mesh.triangles, np.int64).ravel()
    cells.SetData(numpy_to_vtk(offsets, deep=True), numpy_to_vtk(numbers, deep=True))
    data.SetPoints(points)
    data.SetPolys(cells)
    return data


def _mesh(data: vtkPolyData) -> Mesh:
    numbers = vtk_to_numpy(data.GetPolys().GetConnectivityArray())
    return Mesh(_points(data), numbers.reshape(-1, 3).astype(np.int32))


def _points(data: vtkPolyData) -> np.ndarray:
    if data.GetNumberOfPoints() == 0:
        return np.zeros((0, 3))
    return vtk_to_numpy(data.GetPoints().GetData()).astype(float)
