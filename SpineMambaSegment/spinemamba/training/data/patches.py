"""Random patches of a case: position, rotation, scale, mirroring, bending and field of view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spinemamba.imaging.intensity import Modality
from spinemamba.training.data.dataset import IGNORE_INDEX, WHOLE_VOXEL, Case
from spinemamba.training.data.deform import Bend, LevelVariant, draw_bend, draw_variant
from spinemamba.training.data.depth import UNITS_PER_MM
from spinemamba.training.data.sampling import SamplingPoints
from spinemamba.training.data.slices import ThickSlices, draw_slices
from spinemamba.training.data.structures import without_rib

_LAST_RIB = 12


@dataclass(frozen=True)
class PatchOptions:
    """Distribution of random patches.

    Attributes:
        size_vox: Size of a patch (z, y, x).
        spacing_mm: Voxel spacing of a patch before scaling; None for that of the case.
        turned: Share of rotated patches.
        turn_deg: Largest rotation about each axis.
        scaled: Share of magnified or reduced patches.
        scale: Smallest and largest magnification.
        body_scale: The same for bodies, which stand for small and large patients.
        on_spine: Share of patches centred near a vertebra; the others are anywhere.
        mirror: Share of patches mirrored left-right. Levels are unchanged.
        narrow: Share of patches with a smaller field of view, so that the network cannot infer
            levels from where typical images end.
        thick: Share of patches with simulated thick slices.
        thickness_mm: Smallest and largest thickness of these slices.
        bend_mm: Amplitude of the smooth deformation of bodies.
        variant: Share of bodies with a level more or less.
    """

    size_vox: tuple[int, int, int]
    spacing_mm: float | None = None
    turned: float = 1.0
    turn_deg: float = 15.0
    scaled: float = 1.0
    scale: tuple[float, float] = (0.8, 1.2)
    body_scale: tuple[float, float] = (0.6, 1.15)
    on_spine: float = 0.8
    mirror: float = 0.5
    narrow: float = 0.4
    thick: float = 0.0
    thickness_mm: tuple[float, float] = (1.5, 5.0)
    bend_mm: float = 1.6
    variant: float = 0.1

    def weakened(self, strength: float) -> PatchOptions:
        """Return the distribution with fewer deformations: all at a strength of 1, none at 0."""
        names = ("turned", "scaled", "thick", "bend_mm", "variant")
        return replace(self, **{name: getattr(self, name) * strength for name in names})


@dataclass(frozen=True)
class Patch:
    """One patch.

    Attributes:
        target: As in `Case`, uint8 (D, H, W).
        bone: Share of each voxel that is bone, float32 (D, H, W), from 0 to 1.
        core: As in `Case`, uint8 (D, H, W).
        offset: Offset to the centre of the core of the voxel's vertebra along z, y, x, in voxels
            of the patch, float32 (3, D, H, W); NaN if unknown.
        image: HU, or MR in `dataset.MR_UNITS`, float32 (D, H, W); None if the case has none.
        tissues: uint8 (D, H, W); None if the case has none.
        depth_mm: Depth in the voxel's vertebra, negative outside, float32 (D, H, W); None without
            tissues.
        modality: "ct" or "mr", of the image.
        other_depth_mm: The same for other bones; None if these are only among the tissues.
        known_image: Share of each voxel in which the image is known, float32 (D, H, W), from 0 to
            1; None if it is complete.
        beside: Mask of other bones near the spine, uint8 (D, H, W); None if they are not known.
        voxel_mm: Voxel spacing.
        slices: Thick slices, of which the image and the share of bone are means; None for none.
        core_known: Mask of the voxels in which ``core`` is known, bool (D, H, W); None if these are
            the voxels with a known target.
    """

    target: Tensor
    bone: Tensor
    core: Tensor
    offset: Tensor
    image: Tensor | None
    tissues: Tensor | None
    depth_mm: Tensor | None
    other_depth_mm: Tensor | None = None
    known_image: Tensor | None = None
    beside: Tensor | None = None
    voxel_mm: float = 1.0
    slices: ThickSlices | None = None
    modality: Modality = "ct"
    core_known: Tensor | None = None


@dataclass(frozen=True)
class _Frame:
    """Where a patch lies in its case.

    Attributes:
        centre: Centre of the patch in voxels of the case, (3,).
        matrix: From voxels of the patch, from its centre, to those of the case, (3, 3).
        grid: Voxels of the patch from its centre, (D, H, W, 3).
        bend: Smooth deformation; None for none.
        variant: Level that is removed or inserted; None for none.
        spacing_mm: Voxel spacing of the case, (3,).
    """

    centre: Tensor
    matrix: Tensor
    grid: Tensor
    bend: Bend | None
    variant: LevelVariant | None
    spacing_mm: Tensor

    def points(self) -> Tensor:
        """Return the position in the case of each voxel of the patch, (D, H, W, 3)."""
        points = self.grid @ self.matrix.T + self.centre
        points = points + self._bent(points)
        return points if self.variant is None else self.variant.source(points)

    def _bent(self, points: Tensor) -> Tensor:
        if self.bend is None:
            return torch.zeros_like(points)
        return self.bend.at(points * self.spacing_mm) / self.spacing_mm

    def in_patch(self, places: Tensor) -> Tensor:
        """Return where places of the case (n, 3) are in the patch, from its centre; NaN unknown."""
        places = places if self.variant is None else self.variant.shown(places)
        straight = places
        for _ in range(3):  # the deformation is much smaller than its wave length
            straight = places - self._bent(straight)
        return (straight - self.centre) @ torch.linalg.inv(self.matrix).T

    @property
    def parallel(self) -> bool:
        """Whether the axes of the patch are those of the case."""
        diagonal = torch.diag(self.matrix.diagonal())
        return self.bend is None and self.variant is None and torch.equal(self.matrix, diagonal)


def draw_patch(case: Case, options: PatchOptions, generator: torch.Generator) -> Patch:
    """Draw one random patch.

    Args:
        case: Case to draw from.
        options: Distribution of patches.
        generator: Random generator; the same state gives the same patch.

    Returns:
        The patch. Voxels outside the case have the target `IGNORE_INDEX` and the image value of
        the nearest voxel at its border.
    """
    frame, voxel_mm = _frame(case, options, generator)
    points = frame.points()
    first, last = _view(case, frame, options, generator)
    inside = ((points > first - 0.5) & (points < last + 0.5)).all(dim=-1)
    clamped = torch.minimum(torch.maximum(points, first), last)
    size_vox = frame.matrix.abs().amax(dim=1)
    at = SamplingPoints(clamped, tuple(size_vox.tolist()), frame.parallel, first, last)
    target = torch.where(inside, at.nearest(case.target), IGNORE_INDEX).to(torch.uint8)
    patch = Patch(
        target,
        at.linear(case.bone) / WHOLE_VOXEL,
        at.nearest(case.core),
        _offset(frame, case.centres, target),
        _if_any(at.linear, case.image),
        _if_any(at.nearest, case.tissues),
        _if_any(at.linear, case.depth, UNITS_PER_MM),
        _if_any(at.linear, case.other_depth, UNITS_PER_MM),
        _if_any(at.linear, case.known_image, WHOLE_VOXEL),
        _if_any(at.nearest, case.beside),
        voxel_mm,
        modality=case.origin.modality,
        core_known=None if case.core_known is None else (at.nearest(case.core_known) > 0) & inside,
    )
    if frame.variant is not None and frame.variant.removed and frame.variant.level == "T12":
        patch = _without_last_rib(patch)
    if float(torch.rand((), generator=generator)) < options.thick:
        slices = draw_slices(options.thickness_mm, voxel_mm, options.size_vox, generator)
        patch = replace(patch, slices=slices, bone=slices.of(patch.bone))
    return patch


def _if_any(
    sample: Callable[[Tensor], Tensor], values: Tensor | None, unit: int = 1
) -> Tensor | None:
    """Return samples of a field in its unit; None if the case does not have the field."""
    if values is None:
        return None
    return sample(values) if unit == 1 else sample(values) / unit


def _without_last_rib(patch: Patch) -> Patch:
    """Return a patch of a body without the ribs of the level that was removed."""
    if patch.tissues is None or patch.other_depth_mm is None:
        return patch
    tissues, depth_mm, gone = without_rib(patch.tissues, patch.other_depth_mm, _LAST_RIB)
    known = None if patch.known_image is None else patch.known_image * ~gone
    return replace(patch, tissues=tissues, other_depth_mm=depth_mm, known_image=known)


def _offset(frame: _Frame, centres: Tensor, target: Tensor) -> Tensor:
    """Return the offset to the core of each voxel's vertebra, along the axes of the patch."""
    channel = torch.where(target == IGNORE_INDEX, 0, target).long()  # row 0 is NaN
    return (frame.in_patch(centres)[channel] - frame.grid).movedim(-1, 0)


def _frame(case: Case, options: PatchOptions, generator: torch.Generator) -> tuple[_Frame, float]:
    """Return a random position, and the voxel spacing of the patch."""
    own_mm = torch.tensor(case.spacing_mm)
    spacing_mm = float(own_mm[0]) if options.spacing_mm is None else options.spacing_mm
    # Without a spacing, the voxels of a patch are those of the case.
    larger = torch.ones(3) if options.spacing_mm is None else spacing_mm / own_mm
    is_body = case.other_depth is not None
    centre = _centre(case, options, larger, generator)
    matrix = larger[:, None] * _matrix(options, is_body, generator)
    offsets = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in options.size_vox]
    grid = torch.stack(torch.meshgrid(*offsets, indexing="ij"), dim=-1)  # (D, H, W, 3)
    bend = variant = None
    if is_body and options.bend_mm:
        bend = draw_bend(options.bend_mm, generator)
    if is_body and float(torch.rand((), generator=generator)) < options.variant:
        variant = draw_variant(case.centres, generator)
    return _Frame(centre, matrix, grid, bend, variant, own_mm), spacing_mm


def _view(
    case: Case, frame: _Frame, options: PatchOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the first and last voxel of the field of view along each axis."""
    first, last = torch.zeros(3), torch.tensor(case.target.shape, dtype=torch.float32) - 1
    if float(torch.rand((), generator=generator)) >= options.narrow:
        return first, last
    size = torch.tensor(options.size_vox, dtype=torch.float32)
    if options.spacing_mm is not None:
        size = size * options.spacing_mm / frame.spacing_mm
    middle = torch.minimum(torch.maximum(frame.centre, first), last)
    # Each side is cut with a probability of 0.5, at 1/8 to 1 patch size from the centre.
    cuts = (torch.rand(2, 3, generator=generator) * 0.875 + 0.125) * size
    keeps = torch.rand(2, 3, generator=generator) < 0.5
    low = torch.where(keeps[0], first, torch.maximum(first, (middle - cuts[0]).round()))
    high = torch.where(keeps[1], last, torch.minimum(last, (middle + cuts[1]).round()))
    return low, high


def _centre(
    case: Case, options: PatchOptions, larger: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the centre of a patch in voxels of the case."""
    on_spine = float(torch.rand((), generator=generator)) < options.on_spine
    if on_spine and len(case.anchors):
        index = int(torch.randint(len(case.anchors), (), generator=generator))
        size = torch.tensor(options.size_vox, dtype=torch.float32) * larger
        jitter = (torch.rand(3, generator=generator) - 0.5) * size * 0.6
        return case.anchors[index].float() + jitter
    return torch.rand(3, generator=generator) * torch.tensor(case.target.shape)


def _matrix(options: PatchOptions, is_body: bool, generator: torch.Generator) -> Tensor:
    """Return a random matrix (3, 3) of rotation, scale and mirroring."""

    def uniform(low: float, high: float) -> float:
        return float(torch.rand((), generator=generator)) * (high - low) + low

    matrix = torch.eye(3)
    scale = uniform(*(options.body_scale if is_body else options.scale))
    if uniform(0, 1) < options.scaled:
        matrix /= scale
    if uniform(0, 1) < options.turned:
        for a, b in ((0, 1), (0, 2), (1, 2)):
            angle = math.radians(uniform(-options.turn_deg, options.turn_deg))
            turn = torch.eye(3)
            turn[a, a] = turn[b, b] = math.cos(angle)
            turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
            matrix = matrix @ turn
    if uniform(0, 1) < options.mirror:
        matrix = matrix * torch.tensor([1.0, 1.0, -1.0])
    return matrix
