"""Names and codes of vertebrae in other software, and of structures called after a level."""

from __future__ import annotations

import pytest

from spinemamba.anatomy.labels import BY_NAME, LABELS
from spinemamba.anatomy.terminology import (
    is_sacral_part,
    level_coded,
    level_named,
    level_of,
    mentions_level,
)

NAMES = {
    "Lendenwirbel 1": "L1",
    "Lendenwirbelkörper 5": "L5",
    "Brustwirbel12": "T12",
    "Halswirbel_03": "C3",
    "LWK1": "L1",
    "LWK 6": "L6",
    "BWK12": "T12",
    "HWK3": "C3",
    "L3 Wirbel": "L3",
    "Kreuzbein": "Sacrum",
    "Steißbein": "Coccyx",
    "lumbar vertebra 2": "L2",
    "thoracic 11": "T11",
    "vertèbre L1": "L1",
    "verte\u0300bre L1": "L1",
    "vértebra T12": "T12",
}
OTHERS = (
    "L3 left pedicle",
    "L3 right lamina",
    "T8 spinous process",
    "processes of L1",
    "L1-L2 disc", "disc_L3_L4", "IVD L5", "L1/L2", "rib L1", "rib_left_4", "costa T4", "Rippe T4",
    "nerve root L5", "L4 endplate", "facet L3-L4", "psoas L3", "spinal canal L2", "Rippen T4",
    "screw L4", "S2", "HWK9", "LWK", "T14",
)  # fmt: skip
UNCLEAR = (
    "L1 fracture",
    "L3 discarded",
    "T12 recorded",
    "L3 corrected",
    "L4 old",
    "my T12",
    "L1_2",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_another_language_is_a_level(name: str):
    assert level_named(name) is BY_NAME[NAMES[name]]


@pytest.mark.parametrize("name", OTHERS)
def test_another_structure_is_no_vertebra_and_needs_no_look(name: str):
    assert level_of(name) is None
    assert not mentions_level(name)


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_level_with_other_words_needs_a_look(name: str):
    assert level_of(name) is None
    assert mentions_level(name)


def test_the_parts_of_the_sacrum_below_s1_are_known():
    names = ["S1", "S2", "vertebrae_S5", "S6", "sacrum", "L2"]
    assert [is_sacral_part(name) for name in names] == [False, True, True, False, False, False]


def entry(scheme: str, code: str) -> str:
    return f"x~SCT^123037004^Anatomical Structure~{scheme}^{code}^x~^^~~^^~^^"


def test_codes_of_snomed_rt_are_those_of_dicom():
    concepts = pytest.importorskip("pydicom.sr._snomed_dict").mapping["SCT"]
    codes = {label.name: concepts[label.snomed] for label in LABELS if label.snomed}
    assert len(codes) == 26
    for scheme in ("SRT", "SNM3", "99SDM"):
        assert {n: level_coded(entry(scheme, code)).name for n, code in codes.items()} == {
            n: n for n in codes
        }


@pytest.mark.parametrize("code", ["T-11900", "T-1192B", "T-11960", "T-117D0", "T-11510", ""])
def test_other_codes_of_snomed_rt_are_no_level(code: str):
    assert level_coded(entry("SRT", code)) is None
