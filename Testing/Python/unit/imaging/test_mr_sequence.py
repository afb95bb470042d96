"""Names of MR sequences from DICOM tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinemamba.imaging.formats.dicom_header import Header
from spinemamba.imaging.formats.mr_sequence import sequence_name

STIR = "inversion recovery with fat suppression (STIR, TIRM)"
SPIN_ECHO = "SE"


def header(kind: str, repetition: str, echo: str, inversion: str = "", options: str = "") -> Header:
    tags = {
        "0008|0060": "MR",
        "0018|0020": kind,
        "0018|0022": options,
        "0018|0080": repetition,
        "0018|0081": echo,
        "0018|0082": inversion,
    }
    return Header(Path("slice.dcm"), {tag: text for tag, text in tags.items() if text})


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ((SPIN_ECHO, "550", "9.8"), "T1-weighted spin echo"),
        ((SPIN_ECHO, "3500 ", "102"), "T2-weighted spin echo"),
        ((SPIN_ECHO, "3500", "102", "", "PFP\\FS"), "T2-weighted spin echo with fat suppression"),
        ((SPIN_ECHO, "3000", "20"), "proton density-weighted spin echo"),
        (("SE\\IR", "4000", "60", "160"), STIR),
        (("SE\\IR", "2200", "12", "900"), "proton density-weighted spin echo"),
        (("GR", "11", "1.4"), "gradient echo"),
        ((SPIN_ECHO, "", ""), ""),
        ((SPIN_ECHO, "not a number", "9"), ""),
    ],
)
def test_a_sequence_is_named_by_its_times_and_options(tags, name):
    assert sequence_name(header(*tags)) == name


def test_a_ct_has_no_sequence():
    assert sequence_name(Header(Path("slice.dcm"), {"0008|0060": "CT"})) == ""
