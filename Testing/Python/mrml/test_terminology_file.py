"""The terminology file as Slicer's own terminology logic reads it."""

from __future__ import annotations

import json

import generate
import pytest

slicer = pytest.importorskip("slicer")

from spinemamba.anatomy.labels import LABELS  # noqa: E402 - after the skip
from spinemamba.anatomy.terminology import terminology_entry  # noqa: E402

SLICERS_OWN = (
    "Segmentation category and type - DICOM master list",
    "Segmentation category and type - 3D Slicer General Anatomy list",
)


@pytest.fixture(scope="module")
def logic():
    """Slicer's terminology logic with our file; without a scene it loads no file of its own."""
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    context = logic.LoadTerminologyFromFile(str(generate.TERMINOLOGY))
    assert context == terminology_entry(LABELS[0]).split("~")[0]
    return logic


def test_the_terminology_file_does_not_replace_one_of_slicer():
    # Slicer keeps terminologies by name: the same name would hide the whole built-in list.
    content = json.loads(generate.TERMINOLOGY.read_text(encoding="utf-8"))
    assert content["SegmentationCategoryTypeContextName"] not in SLICERS_OWN


@pytest.mark.parametrize("label", [label for label in LABELS if label.snomed], ids=lambda x: x.name)
def test_slicer_finds_the_code_of_each_level(logic, label):
    entry = slicer.vtkSlicerTerminologyEntry()
    wanted = terminology_entry(label).split("~")
    assert logic.FindTypeInTerminologyBy3dSlicerLabel(wanted[0], label.name, entry)
    found = logic.SerializeTerminologyEntry(entry).split("~")
    assert found[:4] == wanted[:4]
    color = entry.GetTypeObject().GetRecommendedDisplayRGBValue()
    assert tuple(color) == label.color


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label.name)
def test_slicer_reads_the_terminology_entries_of_segments(logic, label):
    entry = slicer.vtkSlicerTerminologyEntry()
    assert logic.DeserializeTerminologyEntry(terminology_entry(label), entry)
    assert (
        logic.SerializeTerminologyEntry(entry).split("~")[:4]
        == (terminology_entry(label).split("~")[:4])
    )
