"""The surfaces of masks: where VTK works. Arrays in, arrays out."""

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

ITERATIONS = 20
"""Degree of the filter. More do not smooth more but ring: on spheres and rings in slices of 2 to
3 mm, 20 stayed within half a voxel diagonal of the truth, 32 and 60 did not."""


def surface_of(mask: np.ndarray) -> Mesh:
    """Return the surface half way between voxels inside and outside.

    Flying edges (Schroeder et al., LDAV 2015) with the cases of marching cubes: closed, and every
    edge has two triangles.

    Args:
        mask: Voxels, not 0 inside, shape (z, y, x). What lies outside of the array is outside.

    Returns:
        A surface with points in voxels, (x, y, z) from the middle of the first voxel; facing
        outwards in a right-handed grid. Without any voxel it has no triangle.
    """
    padded = np.pad(mask != 0, 1).astype(np.uint8)
    depth, height, width = padded.shape
    image = vtkImageData()
    image.SetExtent(-1, width - 2, -1, height - 2, -1, depth - 2)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel()))
    filter_ = vtkFlyingEdges3D()
    filter_.SetInputData(image)
    filter_.SetValue(0, 0.5)
    for switch_off in ("Normals", "Gradients", "Scalars"):
        getattr(filter_, f"Compute{switch_off}Off")()
    filter_.Update()
    return _mesh(filter_.GetOutput())


@dataclass(frozen=True)
class Filter:
    """A windowed sinc filter.

    Attributes:
        pass_band: Share of the detail that it lets through.
        iterations: Its degree.
    """

    pass_band: float
    iterations: int

    @classmethod
    def of(cls, strength: float, slices_for_one: int = 1) -> Filter:
        """Return the filter of a strength in (0, 1], the scale of Slicer's "Smoothing factor".

        Args:
            strength: In (0, 1].
            slices_for_one: By how many slices the surface is finer than its label. So many times
                smaller are its triangles: the share of a detail of so many millimetres falls with
                the square of their edges, and the degree that tells it apart grows with 1 / edge.
        """
        iterations = round(ITERATIONS * slices_for_one**0.5)
        return cls(10.0 ** (-4.0 * strength) / slices_for_one, iterations)


def smoothed(mesh: Mesh, sinc: Filter) -> Mesh:
    """Return a surface whose steps are smoothed without shrinking it much.

    Windowed sinc (Taubin, Zhang, Golub, ECCV 1996), in millimetres and not in voxels, so that
    flat voxels are smoothed alike in all directions.

    Args:
        mesh: Closed surface; edges of more than two triangles are smoothed like all others.
        sinc: How strongly.
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

    Slicer's VTK does so anyway; that of the package index takes one unless it is told.
    """
    if vtkSMPTools.GetBackend() == "Sequential":
        vtkSMPTools.SetBackend("STDThread")


def distances_mm(points_mm: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Return how far points, shape (points, 3), lie from the nearest place of a surface."""
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
