"""What thick sagittal slices of an MR do not show: it is left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spinemamba.imaging.intensity import Modality
from spinemamba.protocol.measurements import Item

_LEAST_SLICE_MM = 2.5
_LEAST_RATIO = 1.5
"""Slices at least this far apart, and this much farther than the voxels within them, are a stack:
the side of a body or a pedicle is then known to half a slice at best."""

_ACROSS = ("width_mm", "canal_width_mm", "rotation_deg", "lateral_slip_mm")
"""Values from left to right."""

_CUT = ("volume_ml",)
"""Values of the whole vertebra, whose processes are cut beyond the outer slices."""


def is_sagittal_stack(spacing_mm: tuple[float, float, float], modality: Modality | str) -> bool:
    """Return whether an image is an MR with thick sagittal slices.

    Args:
        spacing_mm: Voxel spacing in canonical orientation (z, y, x); x is left-right.
        modality: Modality of the image; empty if unknown.
    """
    *within, across = spacing_mm
    return modality == "mr" and across >= max(_LEAST_SLICE_MM, _LEAST_RATIO * max(within))


def without_unseen(items: Iterable[Item], slice_mm: float) -> list[Item]:
    """Return measurements without those that sagittal slices at a distance do not show.

    Heights, discs, the depth of the canal, slips and sagittal angles and curves remain; coronal
    curves are left out altogether.
    """
    return [_without(item, slice_mm) for item in items if item.view != "coronal"]


def _without(item: Item, slice_mm: float) -> Item:
    across = f"sagittal slices {slice_mm:.1f} mm apart do not show it"
    cut = f"sagittal slices {slice_mm:.1f} mm apart do not show whole processes"
    why = dict.fromkeys(_ACROSS, across) | dict.fromkeys(_CUT, cut)
    unseen = {
        key: why[key] for key, value in item.values.items() if key in why and value is not None
    }
    if not unseen:
        return item
    values = item.values | dict.fromkeys(unseen)
    known = {k: u for k, u in item.uncertainties.items() if k not in unseen}
    return replace(item, values=values, reasons=item.reasons | unseen, uncertainties=known)
