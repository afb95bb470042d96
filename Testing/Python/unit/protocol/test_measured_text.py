"""Texts of measurements with their uncertainties."""

from __future__ import annotations

import pytest

from spinemamba.protocol.measurements import Item

KEYS = ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm")


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (24.13, 0.52, "24.1 ± 0.6"),
        (24.13, 0.6, "24.1 ± 0.6"),
        (24.13, None, "24.1"),
        (-0.01, 0.04, "0.0 ± 0.1"),
        (None, None, "-"),
    ],
)
def test_a_shown_uncertainty_is_rounded_up(value, width, text):
    widths = {} if width is None else {"middle_disc_mm": width}
    item = Item("disc", "L1-L2", {"middle_disc_mm": value}, uncertainties=widths)
    assert item.text_pm("middle_disc_mm", 1) == text


@pytest.mark.parametrize(
    ("values", "widths", "text"),
    [
        ((9.0, 10.0, 6.0), (0.5, 0.8, 0.4), "9.0 / 10.0 / 6.0 ± 0.8"),
        ((9.0, None, 6.0), (0.5, None, 0.7), "9.0 / - / 6.0 ± 0.7"),
        ((9.0, 10.0, 6.0), (None, None, None), "9.0 / 10.0 / 6.0"),
        ((None, None, None), (None, None, None), "-"),
    ],
)
def test_several_values_share_the_largest_uncertainty(values, widths, text):
    known = {key: w for key, w in zip(KEYS, widths, strict=True) if w is not None}
    item = Item("disc", "L1-L2", dict(zip(KEYS, values, strict=True)), uncertainties=known)
    assert item.joined_pm(KEYS, 1, " / ") == text
