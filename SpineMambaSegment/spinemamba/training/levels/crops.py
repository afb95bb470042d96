"""Crops of a random chain: sampled from the case, painted, and with a random field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.vertebra_crops import CROP_VOX, OUTSIDE, crop_offsets_mm
from spinemamba.network.level_sequence import NO_VERTEBRA, WITNESSES
from spinemamba.phantom.tissue import OTHER_BONE, Tissue
from spinemamba.training.data.dataset import IGNORE_INDEX, WHOLE_VOXEL
from spinemamba.training.data.depth import UNITS_PER_MM
from spinemamba.training.data.patches import Patch
from spinemamba.training.data.structures import BONES, STRUCTURE
from spinemamba.training.levels.chains import (
    FOREIGN,
    HALF_MM,
    LOWER,
    MERGED,
    UPPER,
    Chain,
    ChainOptions,
    draw_chain,
)
from spinemamba.training.levels.ribs import sheared, with_other_ribs
from spinemamba.training.levels.spines import SACRUM, SPACING_MM, Spine
from spinemamba.training.synthesis.augment import chance, uniform
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions
from spinemamba.training.synthesis.paint import paint

_SHOWN_AS = {"T13": "T12", "L6": "L5"}


@dataclass(frozen=True)
class CropOptions:
    """Distribution of the crops of a chain.

    Attributes:
        scale: Mean and standard deviation of the size of the patient.
        small: Share of small patients, and their range of sizes.
        stretch: Standard deviation of the logarithm of the size along each axis.
        turn_deg: Standard deviation of the direction of a crop.
        bend_mm: Amplitude of a smooth deformation.
        narrow: Share of fields of view that are narrow from side to side, in which ribs are cut,
            and their half widths.
        shallow: The same from front to back.
        without_masks: Share of chains without masks of the vertebrae.
        leaking: Share of chains in which the masks contain necks of ribs, as those of a network
            may, and how far they leak in mm; only where the tissues are known.
        rough_masks: Share of chains with masks as irregular as those of a network.
        mirror: Share of mirrored chains.
        sheared: Share of painted chains with steeper or flatter ribs, and the range of their
            additional slope.
        short_rib: Share of bodies with short last ribs, and their range of lengths from the middle
            of the spine in mm.
        alone: Share of chains in which some vertebrae have no mask among their neighbours'.
        beyond: Range of what is in view above the first vertebra, in distances of vertebrae.
    """

    scale: tuple[float, float] = (1.0, 0.09)
    small: tuple[float, float, float] = (0.12, 0.6, 0.85)
    stretch: float = 0.04
    turn_deg: float = 3.0
    bend_mm: float = 1.6
    narrow: tuple[float, float, float] = (0.55, 24.0, 95.0)
    shallow: tuple[float, float, float] = (0.35, 30.0, 80.0)
    without_masks: float = 0.2
    leaking: tuple[float, float, float] = (0.35, 3.0, 8.0)
    rough_masks: float = 0.55
    mirror: float = 0.5
    sheared: tuple[float, float, float] = (0.6, -0.35, 0.8)
    short_rib: tuple[float, float, float] = (0.35, 24.0, 62.0)
    alone: float = 0.15
    beyond: tuple[float, float] = (-0.25, 1.4)


@dataclass(frozen=True)
class LevelExample:
    """One chain to learn from.

    Attributes:
        crops: As the result of `vertebra_crops`, (N, 4, *CROP_VOX).
        centres_mm: Centres of the bodies, (N, 3).
        levels: Probability of each level and of no vertebra, (N, 26); two levels for a merged one.
        witnesses: Truth of each witness, (N, 5).
        known: Weight of each witness; 0 where the case does not tell, (N, 5).
    """

    crops: Tensor
    centres_mm: Tensor
    levels: Tensor
    witnesses: Tensor
    known: Tensor


@dataclass(frozen=True)
class ExampleOptions:
    """Distribution of all that is random in an example."""

    chain: ChainOptions = field(default_factory=ChainOptions)
    crops: CropOptions = field(default_factory=CropOptions)
    synthesis: SynthesisOptions = DEFAULT_SYNTHESIS


def draw_example(spine: Spine, options: ExampleOptions, generator: torch.Generator) -> LevelExample:
    """Draw a random chain of a spine with its crops; the same state gives the same example."""
    chain = draw_chain(spine, options.chain, generator)
    points, scale, centres = _points(spine, chain, options.crops, generator)
    view = _view(spine, chain, points, options.crops, generator)
    target, patch = _sampled(spine, points)
    patch = with_other_ribs(patch, chain, options.crops.short_rib, generator)
    masks = _masks(spine, chain, target, options.crops, generator)
    if patch.tissues is not None and chance(options.crops.leaking[0], generator):
        reach_mm = uniform(*options.crops.leaking[1:], generator)
        masks = _with_leaks(masks, patch.tissues.reshape(view.shape), reach_mm)
    masks = masks * view[:, None]
    image = paint(patch, generator, options.synthesis).reshape(view.shape)
    image = torch.where(view, image, OUTSIDE)
    crops = torch.cat([image[:, None], view[:, None].float(), masks], dim=1)
    levels, witnesses, known = _targets(chain)
    if chance(options.crops.mirror, generator):
        crops, witnesses = crops.flip(-1), witnesses[:, [1, 0, 2, 3, 4]]
    return LevelExample(crops, centres * scale * SPACING_MM, levels, witnesses, known)


def _points(
    spine: Spine, chain: Chain, options: CropOptions, generator: torch.Generator
) -> tuple[Tensor, float, Tensor]:
    """Return the voxels of the case in the crops (N, *CROP_VOX, 3), the size, and the centres."""
    rows = torch.tensor([chain.sources[entry.position] for entry in chain.entries])
    turn = _turn(options.turn_deg, generator)
    axes = spine.axes[rows] @ turn
    shift = torch.tensor([entry.shift_mm for entry in chain.entries]) / SPACING_MM
    centres = spine.centres_vox[rows] + torch.einsum("nk,nkc->nc", shift, axes)
    scale = uniform(*options.small[1:], generator)
    if not chance(options.small[0], generator):
        scale = options.scale[0] + options.scale[1] * float(torch.randn((), generator=generator))
    stretch = torch.exp(options.stretch * torch.randn(3, generator=generator))
    offsets = torch.from_numpy(crop_offsets_mm()).float() / (SPACING_MM * scale * stretch)
    if spine.case.tissues is not None:
        offsets = sheared(offsets, options.sheared, generator)
    points = centres[:, None, None, None] + torch.einsum("dhwk,nkc->ndhwc", offsets, axes)
    for k, entry in enumerate(chain.entries):
        _skip_levels(points[k], offsets[..., 0] + shift[k, 0], (spine, chain, entry.position))
    return points + _bend(points, options.bend_mm, generator), scale, centres


def _skip_levels(points: Tensor, up: Tensor, place: tuple[Spine, Chain, int]) -> None:
    """Show the neighbours in the chain instead of those in the case, in place.

    Beyond the middle between two vertebrae, the points of a crop move by the distance from the
    neighbour in the case to the one in the chain.
    """
    spine, chain, position = place
    source = chain.sources[position]
    for step in (-1, 1):
        other = source + step
        if not 0 <= position + step < len(chain.sources) or not 0 <= other < len(spine.levels):
            continue
        shown = chain.sources[position + step]
        if shown != other:
            half = (spine.centres_vox[source] - spine.centres_vox[other]).norm() / 2
            points[-step * up > half] += spine.centres_vox[shown] - spine.centres_vox[other]


def _turn(spread_deg: float, generator: torch.Generator) -> Tensor:
    """Return a small random rotation (3, 3)."""
    turn = torch.eye(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle = math.radians(spread_deg) * float(torch.randn((), generator=generator))
        step = torch.eye(3)
        step[a, a] = step[b, b] = math.cos(angle)
        step[a, b], step[b, a] = -math.sin(angle), math.sin(angle)
        turn = turn @ step
    return turn


def _bend(points: Tensor, size_mm: float, generator: torch.Generator) -> Tensor:
    """Return a smooth displacement of each point: three plane waves."""
    out = torch.zeros_like(points)
    for _ in range(3):
        wave = torch.randn(3, generator=generator)
        length_vox = uniform(60.0, 220.0, generator) / SPACING_MM
        phase = points @ (wave / wave.norm() * (2 * math.pi / length_vox))
        start = uniform(0.0, 2 * math.pi, generator)
        size = torch.randn(3, generator=generator) * size_mm / SPACING_MM
        out += torch.sin(phase + start)[..., None] * size
    return out


def _view(
    spine: Spine, chain: Chain, points: Tensor, options: CropOptions, generator: torch.Generator
) -> Tensor:
    """Return the mask of the field of view, bool (N, *CROP_VOX)."""
    inside = ((points > -0.5) & (points < torch.tensor(spine.case.target.shape) - 0.5)).all(-1)
    rows = [chain.sources[k] for k in range(chain.first, chain.stop)]
    centres = spine.centres_vox[rows]
    middle = centres.mean(dim=0)
    for axis, (share, low, high) in ((2, options.narrow), (1, options.shallow)):
        if chance(share, generator):
            sides = [uniform(low, high, generator) / SPACING_MM for _ in range(2)]
            inside &= points[..., axis] > middle[axis] - sides[0]
            inside &= points[..., axis] < middle[axis] + sides[1]
    step = float((centres[0] - centres[-1]).norm()) / max(1, len(rows) - 1)
    below = uniform(
        options.beyond[0], 3.0 if chain.levels[chain.stop - 1] == SACRUM else 1.3, generator
    )
    inside &= points[..., 0] < centres[0, 0] + uniform(*options.beyond, generator) * step
    return inside & (points[..., 0] > centres[-1, 0] - below * step)


def _sampled(spine: Spine, points: Tensor) -> tuple[Tensor, Patch]:
    """Return the targets at the points (N, *CROP_VOX), and all crops as one patch to paint."""
    case, size = spine.case, torch.tensor(spine.case.target.shape)
    index = points.round().long().clamp_min(0).minimum(size - 1).unbind(-1)
    target = case.target[index]
    flat = (-1, *CROP_VOX[1:])
    lines = points.reshape(*flat, 3)
    image = None if case.image is None else _interpolated(case.image, lines)
    tissues = None if case.tissues is None else case.tissues[index].reshape(flat)
    empty = torch.zeros(0)
    return target, Patch(
        target.reshape(flat),
        bone=empty,
        core=empty,
        offset=empty,
        image=image,
        tissues=tissues,
        depth_mm=_depth_mm(case.depth, lines),
        other_depth_mm=_depth_mm(case.other_depth, lines),
        known_image=_share(case.known_image, lines),
        voxel_mm=SPACING_MM,
    )


def _depth_mm(depth: Tensor | None, points: Tensor) -> Tensor | None:
    return None if depth is None else _interpolated(depth, points) / UNITS_PER_MM


def _share(known: Tensor | None, points: Tensor) -> Tensor | None:
    return None if known is None else _interpolated(known, points) / WHOLE_VOXEL


def _interpolated(values: Tensor, points: Tensor) -> Tensor:
    """Return trilinear samples at points (D, H, W, 3); the border is repeated outside."""
    size = torch.tensor(values.shape, dtype=torch.float32)
    unit = (points * 2 + 1) / size - 1
    sampled = functional.grid_sample(
        values.float()[None, None],
        unit.flip(-1)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return sampled[0, 0]


def _masks(
    spine: Spine, chain: Chain, target: Tensor, options: CropOptions, generator: torch.Generator
) -> Tensor:
    """Return the masks of each vertebra and of the others, (N, 2, *CROP_VOX)."""
    bone = (target > 0) & (target != IGNORE_INDEX)
    this = torch.zeros_like(bone)
    offsets_mm = torch.from_numpy(crop_offsets_mm()).float()
    for k, entry in enumerate(chain.entries):
        if entry.kind == FOREIGN:
            this[k] = offsets_mm.norm(dim=-1) < entry.radius_mm
            continue
        parts = range(entry.position, entry.position + (2 if entry.kind == MERGED else 1))
        channels = spine.channels[[chain.sources[part] for part in parts]]
        this[k] = torch.isin(target[k], channels.to(target.dtype))
        if entry.kind in (UPPER, LOWER):
            # The crop is centred at the half; the border is towards the other half.
            up_mm = offsets_mm[..., 0]
            this[k] &= up_mm > -HALF_MM if entry.kind == UPPER else up_mm < HALF_MM
    masks = torch.stack([this, bone & ~this], dim=1).float()
    if chance(options.without_masks, generator):
        return torch.zeros_like(masks)
    if options.alone and chance(options.alone, generator):
        masks[:, 1] *= torch.rand(len(masks), 1, 1, 1, generator=generator) > _ALONE
    return _roughened(masks, generator) if chance(options.rough_masks, generator) else masks


_ALONE = 0.3
"""Share of vertebrae without masks of their neighbours, in a chain with some."""


def _roughened(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Return masks with displaced and irregular surfaces."""
    soft = functional.avg_pool3d(masks, 3, 1, 1)
    knots = [max(2, n // 4) for n in CROP_VOX]
    noise = torch.randn(len(masks), 1, *knots, generator=generator)
    noise = functional.interpolate(noise, size=CROP_VOX, mode="trilinear")
    size, shift = uniform(0.0, 0.22, generator), uniform(-0.12, 0.12, generator)
    return (soft + size * noise + shift > 0.5).float()


def _with_leaks(masks: Tensor, tissues: Tensor, reach_mm: float) -> Tensor:
    """Return masks (N, 2, *CROP_VOX) that extend into other bones near them."""
    bones = [*OTHER_BONE, Tissue.MARROW, *(STRUCTURE + number for number in BONES)]
    other = torch.isin(tissues, torch.tensor(bones, dtype=tissues.dtype))
    steps = max(1, round(reach_mm / SPACING_MM))
    near = functional.max_pool3d(masks, 2 * steps + 1, 1, steps)
    return torch.maximum(masks, near * other[:, None])


def _targets(chain: Chain) -> tuple[Tensor, Tensor, Tensor]:
    """Return levels, witnesses, and which of these are known; see `LevelExample`."""
    count = len(chain.entries)
    levels = torch.zeros(count, NO_VERTEBRA + 1)
    witnesses, known = torch.zeros(count, WITNESSES), torch.ones(count, WITNESSES)
    for k, entry in enumerate(chain.entries):
        names = chain.levels[entry.position : entry.position + 2]
        if entry.kind == FOREIGN:
            levels[k, NO_VERTEBRA] = 1
            known[k] = 0
        elif entry.kind == MERGED:
            for name in names:
                levels[k, _channel(name)] += 0.5
            known[k] = 0
        elif entry.kind in (UPPER, LOWER):
            levels[k, _channel(names[0])] = levels[k, NO_VERTEBRA] = 0.5
            known[k] = 0
        else:
            levels[k, _channel(names[0])] = 1
            witnesses[k], known[k] = _witnesses(names, chain)
    return levels, witnesses, known


def _channel(name: str) -> int:
    return NETWORK_LEVELS.index(_SHOWN_AS.get(name, name))


def _witnesses(names: tuple[str, ...], chain: Chain) -> tuple[Tensor, Tensor]:
    """Return the witnesses of a vertebra, given its name and the next one, and their weights."""
    name, below = names[0], names[1] if len(names) > 1 else ""
    rib = name.startswith("T")
    last_rib = rib and below.startswith("L")
    truth = torch.tensor([rib, rib, name == "T1", last_rib, below == SACRUM]).float()
    # The last of the spine's levels may be followed by one that is not labelled.
    known = torch.tensor([1, 1, 1, bool(below) or not rib, bool(below) or name[0] != "L"])
    return truth, known.float()
