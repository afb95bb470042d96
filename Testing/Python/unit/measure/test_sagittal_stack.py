"""Measurements of MR with thick sagittal slices: what remains, and the reasons for the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analytic_spine import draw, random_stack

from spinemamba.measure.sagittal_stack import is_sagittal_stack
from spinemamba.measure.spine import measure

ACROSS = {"width_mm", "canal_width_mm", "rotation_deg"}
KEPT = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm", "wedge_deg", "depth_mm")


@pytest.fixture(scope="module")
def spine():
    vertebrae, direction = random_stack(0)
    return draw(vertebrae, (1.0, 1.0, 3.0), direction)


@pytest.mark.parametrize(
    ("spacing_mm", "modality", "expected"),
    [
        ((0.6, 0.6, 4.0), "mr", True),
        ((0.6, 0.6, 4.0), "ct", False),
        ((0.6, 0.6, 4.0), "", False),
        ((1.0, 1.0, 1.0), "mr", False),
        ((3.0, 3.0, 3.0), "mr", False),
        ((4.0, 0.6, 0.6), "mr", False),  # axial
    ],
)
def test_sagittal_stacks_are_recognised(spacing_mm, modality, expected):
    assert is_sagittal_stack(spacing_mm, modality) is expected


def test_mr_gives_what_sagittal_slices_show(spine):
    image = spine.with_array(np.random.default_rng(0).random(spine.array.shape).astype(np.float32))
    full = measure(spine, image, "")
    stack = measure(spine, image, "mr")
    assert not any("sagittal slices" in note for note in full.notes)
    assert any("sagittal slices" in note for note in stack.notes)
    assert all(item.view != "coronal" for item in stack.items)
    ours = {(item.kind, item.name, item.view): item for item in stack.items}
    for item in full.items:
        if item.view == "coronal":
            continue
        other = ours[item.kind, item.name, item.view]
        for key, value in item.values.items():
            if key in ACROSS | {"volume_ml", "lateral_slip_mm"}:
                assert other.values[key] is None
                assert key not in other.uncertainties
                if value is not None:
                    assert "3.0 mm apart" in other.reasons[key]
            else:
                assert other.values[key] == value
                assert other.uncertainties.get(key) == item.uncertainties.get(key)
        plain = {"values": {}, "reasons": {}, "uncertainties": {}}
        assert replace(other, **plain) == replace(item, **plain)
    measured = [item.values[key] for item in full.items if item.kind == "vertebra" for key in KEPT]
    assert any(value is not None for value in measured)
