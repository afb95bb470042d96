"""Vertebrae of any source are reviewed in place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from foreign_spines import LABELMAP, SOURCES, TO_RAS, add_foreign, make_image  # noqa: E402
from review_helpers import (  # noqa: E402
    NAMES,
    everything,
    label_array,
    oriented,
    result_of,
    spine_labels,
)

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.protocol.result import Witnesses  # noqa: E402
from SpineMambaSegmentLib.Review import Log, TakeOver  # noqa: E402
from SpineMambaSegmentLib.Review.Display import details, rowsOf  # noqa: E402
from SpineMambaSegmentLib.Review.Evidence import AddEvidence, ribsOf  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import SetLevel, ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel, resultOf  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, FLAGGED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete, Merge, SplitByPlane  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene import Inputs, Provenance, Segments  # noqa: E402
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds  # noqa: E402
from SpineMambaSegmentLib.Scene.SurfaceSource import vertebraeOf  # noqa: E402


@pytest.fixture
def volume(make_volume):
    return make_volume(make_image(), TO_RAS)


@pytest.fixture(params=SOURCES)
def foreign(request, volume):
    return add_foreign(volume, SOURCES[request.param], separate=request.param == "DICOM SEG")


def clear_levels(node) -> dict[str, str]:
    """Return the recognised levels, none of which is unclear."""
    found = TakeOver.candidates(node)
    assert not [one for one in found if one.reason]
    return {one.segmentId: one.level for one in found if one.level}


def seen(node) -> dict:
    """Return what take-over must not change."""
    segmentation = node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    segments = [segmentation.GetSegment(i) for i in ids]
    entry = slicer.vtkSegment.GetTerminologyEntryTagName()
    return {
        "order": ids,
        "names": [s.GetName() for s in segments],
        "colors": [s.GetColor() for s in segments],
        "codes": [Provenance.tagOf(s, entry) for s in segments],
        "notes": [Provenance.tagOf(s, "Site.Note") for s in segments],
        "voxels": label_array(node),
    }


def session_of(node, volume) -> ReviewSession:
    """Take over what is clear, and return the session."""
    TakeOver.takeOver(node, clear_levels(node), volume, "Dr. Test")
    return ReviewSession(node, volume, "Dr. Test")


def test_taking_over_changes_no_name_code_colour_order_or_voxel(foreign, volume):
    before = seen(foreign)
    session = session_of(foreign, volume)
    assert seen(foreign) == before
    assert session.spine.chain == NAMES
    assert len(vertebraIds(foreign)) == len(NAMES)
    assert "liver" not in session.spine.states
    assert Log.read(foreign)[-1]["action"] == "Take over (8)"
    # The outermost blocks touch no edge of the image; nothing is flagged without a reason.
    assert all(not s.tag("SpineMamba.Flags") for s in session.spine.states.values())


def test_a_spine_is_approved_and_listed_for_export(foreign, volume):
    session = session_of(foreign, volume)
    session.apply(ApproveRest())
    vertebrae = vertebraeOf(foreign)
    assert [v.level for v in vertebrae] == list(NAMES)
    assert all(v.reviewed and v.reviewed_by == "Dr. Test" for v in vertebrae)


ACTIONS = {
    "shift": lambda ids: ShiftLevels(-1),
    "name": lambda ids: SetLevel(ids[0], "T9"),
    "pin": lambda ids: PinLevel(ids[3], "L3"),
    "approve": lambda ids: SetStatus(tuple(ids), APPROVED),
    "merge": lambda ids: Merge((ids[2], ids[3])),
    "delete": lambda ids: Delete((ids[4],)),
    "split": lambda ids: SplitByPlane(ids[2], (32.0, 48.0, 49.0 * 4), (0.0, 0.0, 1.0), "L6"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_works_and_undo_restores_all(foreign, volume, action: str):
    session = session_of(foreign, volume)
    before, notes = everything(foreign), seen(foreign)["notes"]
    liver = label_array(foreign)["liver"]
    session.apply(ACTIONS[action](session.spine.ids))
    assert label_array(foreign)["liver"] == liver
    session.undo()
    assert everything(foreign) == before
    assert seen(foreign)["notes"] == notes
    session.redo()
    assert label_array(foreign)["liver"] == liver


def test_a_pin_renames_the_others_by_sizes_and_distances(foreign, volume):
    session = session_of(foreign, volume)
    colors = seen(foreign)["colors"]
    session.apply(PinLevel(session.spine.ids[5], "L3"))
    assert session.spine.chain == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "Sacrum")
    assert seen(foreign)["colors"] == colors


STYLES = {
    "TotalSegmentator": "vertebrae_L5",
    "module TotalSegmentator": "L5 vertebra",
    "SPINEPS": "L5",
    "DICOM SEG": "L5",
    "another site": "Vertebra L5",
}


@pytest.mark.parametrize("source", STYLES)
def test_a_renamed_segment_keeps_its_style_if_it_has_one(volume, source: str):
    node = add_foreign(volume, SOURCES[source])
    session = session_of(node, volume)
    fourth = session.spine.ids[NAMES.index("L4")]
    session.apply(Delete((session.spine.ids[NAMES.index("L5")],)))
    session.apply(SetLevel(fourth, "L5"))
    assert node.GetSegmentation().GetSegment(fourth).GetName() == STYLES[source]
    assert session.spine.states[fourth].level == "L5"
    # Neither the others nor a second wish for the same level rename anything.
    assert session.spine.states[session.spine.ids[0]].name == SOURCES[source]("T11")[1]


def test_a_scene_with_a_taken_over_spine_opens_again(foreign, volume, tmp_path):
    session = session_of(foreign, volume)
    session.apply(SetStatus((session.spine.ids[0],), APPROVED))
    path = tmp_path / "x.seg.nrrd"
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(foreign)
    again = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Again")
    assert storage.ReadData(again)
    loaded = ReviewSession(again, volume)
    assert loaded.spine.chain == NAMES
    assert loaded.spine.approved() == [loaded.spine.ids[0]]
    assert not [one for one in TakeOver.candidates(again) if one.level]


def test_no_run_may_write_into_a_taken_over_spine(foreign, volume):
    session_of(foreign, volume)
    with pytest.raises(UserError, match="taken over"):
        Inputs.checkSegmentation(foreign)
    before = seen(foreign)
    made = Segments.addSegments(oriented(spine_labels(), TO_RAS), foreign, volume)
    assert made == []
    assert seen(foreign) == before


def rename(node, segment_id: str, name: str) -> None:
    node.GetSegmentation().GetSegment(segment_id).SetName(name)


def test_unclear_segments_are_named_with_a_reason(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    rename(node, "vertebrae_L1", "vertebrae_L2")
    rename(node, "vertebrae_L4", "L4 old")
    found = {one.segmentId: one for one in TakeOver.candidates(node)}
    assert found["vertebrae_L1"].reason == "vertebrae_L2 is L2, too"
    assert found["vertebrae_L2"].reason == "vertebrae_L2 is L2, too"
    assert (found["vertebrae_L4"].level, found["vertebrae_L4"].reason) == (
        "",
        "its name is no level",
    )
    assert (found["liver"].level, found["liver"].reason) == ("", "")
    levels = {one.segmentId: one.level for one in found.values() if one.level}
    before = seen(node)
    with pytest.raises(UserError, match="would all be L2"):
        TakeOver.takeOver(node, levels, volume)
    assert seen(node) == before
    assert vertebraIds(node) == []
    TakeOver.takeOver(node, {**levels, "vertebrae_L1": "L1", "vertebrae_L4": "L4"}, volume)
    names = [node.GetSegmentation().GetSegment(i).GetName() for i in vertebraIds(node)]
    # A name that means another level gives way to ours; "L4 old" does not contradict its new code.
    assert names[2:6] == ["L1", "vertebrae_L2", "vertebrae_L3", "L4 old"]
    assert ReviewSession(node, volume).spine.chain == NAMES


def test_s1_beside_the_sacrum_stays_out_of_the_review(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    rename(node, "liver", "vertebrae_S1")
    assert "liver" not in clear_levels(node)
    assert len(clear_levels(node)) == len(NAMES)


def test_numbers_from_a_label_map_are_read_by_anatomy(volume):
    node = add_foreign(
        volume, lambda n: (f"s{BY_NAME[n].value}", f"Segment_{BY_NAME[n].value}", "")
    )
    assert clear_levels(node) == {}
    levels = TakeOver.levelsByNumber(node)
    assert list(levels.values()) == list(NAMES)
    TakeOver.takeOver(node, levels, volume)
    assert node.GetSegmentation().GetSegment("s20").GetName() == "Segment_20"
    assert ReviewSession(node, volume).spine.chain == NAMES


def test_segments_of_another_origin_keep_their_place(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    moved = np.diag([4.0, 4.0, 4.0, 1.0])
    moved[:3, 3] = (8.0, 12.0, 16.0)
    part = (spine_labels() == BY_NAME["L2"].value).astype(np.uint8)[4:, 3:, 2:]
    segment = node.GetSegmentation().GetSegment("vertebrae_L2")
    segment.AddRepresentation(LABELMAP, oriented(part, moved))
    segment.SetLabelValue(1)
    session = session_of(node, volume)
    assert session.spine.chain == NAMES
    heights = [session.spine.centerRas(i)[2] for i in session.spine.ids]
    np.testing.assert_allclose(np.diff(heights)[:-1], -32.0)
    session.apply(Delete((session.spine.ids[0],)))
    assert session.spine.centerRas("vertebrae_L2")[2] == pytest.approx(heights[3])


def test_segments_on_another_lattice_are_refused(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    segment = node.GetSegmentation().GetSegment("vertebrae_L2")
    part = (spine_labels() == BY_NAME["L2"].value).astype(np.uint8)
    segment.AddRepresentation(LABELMAP, oriented(part, np.diag([3.0, 4.0, 4.0, 1.0])))
    segment.SetLabelValue(1)
    before = seen(node)
    with pytest.raises(UserError, match="different voxel grids"):
        TakeOver.takeOver(node, clear_levels(node), volume)
    assert seen(node) == before
    assert vertebraIds(node) == []


def test_overlapping_voxels_go_to_one_vertebra_and_are_mentioned(volume):
    node = add_foreign(volume, SOURCES["DICOM SEG"], separate=True)
    labels = spine_labels()
    both = (labels == BY_NAME["L2"].value) | (labels == BY_NAME["L1"].value)
    node.GetSegmentation().GetSegment("4").AddRepresentation(
        LABELMAP, oriented(both.astype(np.uint8), TO_RAS)
    )
    notes = TakeOver.takeOver(node, clear_levels(node), volume)
    count = int((labels == BY_NAME["L1"].value).sum())
    assert notes == [
        f"Lendenwirbel1 and Lendenwirbel2 shared {count} voxels; Lendenwirbel1 keeps them."
    ]
    masks = [s.mask for s in ReviewSession(node, volume).spine.states.values()]
    assert sum(m.count() for m in masks) == np.count_nonzero(labels)


def test_flags_come_from_sizes_distances_and_the_edge_of_the_image(volume, make_volume):
    cropped = make_volume(make_image()[:60], TO_RAS)
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    rename(node, "vertebrae_T12", "vertebrae_T9")
    rename(node, "vertebrae_T11", "vertebrae_T8")
    session = session_of(node, cropped)
    flags = [s.tag("SpineMamba.FlagNames") for s in session.spine.states.values()]
    assert "cut_by_image" in flags[0]
    assert "level_gap" in flags[2]
    flagged = [s.status == FLAGGED for s in session.spine.states.values()]
    assert flagged[0]
    assert flagged[2]
    assert not flagged[-1]


def test_surfaces_are_refused(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(UserError, match="surfaces"):
        TakeOver.takeOver(node, {"vertebrae_L1": "L1"}, volume)


def test_the_networks_add_level_probabilities_without_renaming(volume):
    wrong = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "Sacrum")
    called = dict(zip(NAMES, wrong, strict=True))
    node = add_foreign(volume, lambda name: SOURCES["TotalSegmentator"](called[name]))
    session = session_of(node, volume)
    before = everything(node)
    session.apply(AddEvidence(oriented(spine_labels(), TO_RAS), result_of()))
    assert session.spine.chain == wrong
    states = list(session.spine.states.values())
    assert all("level_uncertain" in s.tag("SpineMamba.FlagNames") for s in states[:-1])
    assert all(s.status == FLAGGED for s in states[:-1])
    assert states[-1].tag("SpineMamba.Posterior") > "0.9"
    session.apply(PinLevel("", ""))
    assert session.spine.chain == NAMES
    assert states[0].name == "vertebrae_T10"
    assert session.spine.states["vertebrae_T10"].name == "vertebrae_T11"
    session.undo()
    session.undo()
    assert everything(node) == before


def test_the_networks_add_the_ribs_that_they_saw(volume):
    foreign = add_foreign(volume, SOURCES["TotalSegmentator"])
    result = result_of()
    seen = Witnesses(0.95, 0.95, 0.0, 0.8, 0.0)
    instances = [replace(item, no_vertebra=0.01) for item in result.instances]
    instances[NAMES.index("T12")] = replace(instances[NAMES.index("T12")], witnesses=seen)
    session = session_of(foreign, volume)
    assert ribsOf(session.spine).findings == {}
    with_ribs = replace(result, instances=tuple(instances))
    session.apply(AddEvidence(oriented(spine_labels(), TO_RAS), with_ribs))
    ribs = ribsOf(session.spine)
    assert {i: f.text for i, f in ribs.findings.items()} == {
        "vertebrae_T12": "Last rib at this vertebra (T12)."
    }
    added = resultOf(session.spine)
    assert all(item.no_vertebra == 0.01 for item in added.instances)
    row = next(row for row in rowsOf(session.spine) if row.segmentId == "vertebrae_T12")
    assert details(session.spine, row).endswith("Last rib at this vertebra (T12).")


def test_evidence_of_another_image_is_refused(foreign, volume):
    session = session_of(foreign, volume)
    empty = oriented(np.zeros_like(spine_labels()), TO_RAS)
    with pytest.raises(UserError, match="found none"):
        session.apply(AddEvidence(empty, result_of()))
