"""Recognition of levels from label values and segment names."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from synthetic_labels import (
    Part,
    masks,
    numbered,
    numbers_of,
    result_of,
    spine,
    write_json,
    write_parts,
)

from spinemamba.anatomy.label_schemes import BUILT_IN, TOTALSEGMENTATOR_V1, VERSE, numbering_of
from spinemamba.anatomy.labels import BY_VALUE, LABELS, ORDER
from spinemamba.anatomy.terminology import (
    level_coded,
    level_named,
    level_of,
    terminology_entry,
)
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.read import read_vertebra_labels, remap_values, values_in
from spinemamba.labelmaps.recognise_scheme import guess_numbering, label_stats

VERSE_FILES = (
    "verse/gl003_maskonly_seg.nii.gz",
    "verse/verse004_maskonly_seg.nii.gz",
    "verse/verse005_seg.nii.gz",
    "verse/verse006_seg.nii.gz",
    "verse/verse008_seg.nii.gz",
    "verse/verse009_maskonly_seg.nii.gz",
    "verse/verse010_maskonly_seg.nii.gz",
    "verse/verse012_seg.nii.gz",
    "lidc/lidc0001_seg.nii.gz",
    "totalsegmentator/s0327_maskonly_seg.nii.gz",
    "totalsegmentator/s0328_seg.nii.gz",
    "totalsegmentator/ts_aorta_T12only_seg.nii.gz",
    "totalsegmentator/ts_example_seg.nii.gz",
    "tptbox/ct_vertebra_seg.nii.gz",
    "dicom/ts_abdomen_seg.nii.gz",
)
OTHER_FILES = (
    "tptbox/mr_instance_seg.nii.gz",
    "tptbox/mr_subregion_seg.nii.gz",
    "tptbox/ct_subregion_seg.nii.gz",
    "panoptica_mr/matched_instance_ref.nii.gz",
    "panoptica_mr/semantic_ref.nii.gz",
    "totalsegmentator/ts_example_structures.nii.gz",
)


def title(labels: dict | Volume) -> str:
    """Return the title of the recognised numbering, or the refusal."""
    stats = label_stats(labels) if isinstance(labels, Volume) else labels
    try:
        return guess_numbering(stats, sorted(stats), "f").title
    except UserError:
        return "refused"


@pytest.mark.parametrize(
    ("names", "level"),
    [
        (("L1", "l1", "vertebrae_L1", "Vertebra L1", "L1 vertebra", "vert_L1", " L01 "), "L1"),
        (("T12", "Th12", "TH12", "th_12", "T12 Vertebra"), "T12"),
        (("sacrum", "Sacrum", "S1", "vertebrae_S1", "os sacrum"), "Sacrum"),
        (("C1", "atlas", "vertebrae.C1"), "C1"),
        (("T13", "t13"), "T13"),
        (("L6",), "L6"),
        (("Coccyx",), "Coccyx"),
        (("", "L", "L7", "C8", "T14", "C0", "S2", "L3 corrected", "L3-2", "disc L3/L4"), None),
        (
            ("Segment_1", "Segment 3", "tumour", "vertebrae", "rib_left_12", "T2 hyper", "L3L4"),
            None,
        ),
    ],
)
def test_a_level_is_recognised_in_its_usual_spellings_only(names, level):
    found = {name: level_named(name) for name in names}
    assert {name: x and x.name for name, x in found.items()} == dict.fromkeys(names, level)


def test_the_name_and_code_of_every_level_identify_it():
    for label in LABELS:
        assert level_named(label.name) is label
        assert level_coded(terminology_entry(label)) is label


def test_a_code_is_used_as_the_type_unless_the_name_contradicts():
    foreign = "Total~SCT^1^Tissue~SCT^36470004^Third lumbar vertebra~^^~a~b~c"
    assert level_of("odd", foreign).name == "L3"
    region = "Any~SCT^49755003^Lesion~SCT^108369006^Tumour~^^~c~SCT^36470004^L3 vertebra~^^"
    assert level_of("tumour", region) is None
    assert level_of("L4 corrected", foreign) is None
    assert level_of("L3 corrected", foreign).name == "L3"
    assert level_of("L4", foreign).name == "L4"


def test_class_maps_of_totalsegmentator_run_from_tail_to_head():
    second, first = BUILT_IN["totalsegmentator"].levels, TOTALSEGMENTATOR_V1.levels
    assert {v: second[v].name for v in (25, 26, 27, 31, 32, 43, 44, 50)} == {
        25: "Sacrum", 26: "Sacrum", 27: "L5", 31: "L1", 32: "T12", 43: "T1", 44: "C7", 50: "C1",
    }  # fmt: skip
    assert {v: first[v].name for v in (18, 22, 23, 34, 35, 41)} == {
        18: "L5", 22: "L1", 23: "T12", 34: "T1", 35: "C7", 41: "C1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        {"L1": 1, "vertebrae_L2": 2, "aorta": 3},
        {"1": "L1", "2": "vertebrae_L2", "3": "aorta"},
        {"labels": {"background": 0, "L1": 1, "L2": "2", "aorta": 3}, "channel_names": {"0": "CT"}},
        {"labels": {"0": "background", "1": "L1", "2": "L2", "3": "aorta"}},
    ],
)
def test_a_json_file_maps_names_to_numbers_or_numbers_to_names(content, tmp_path: Path):
    found = numbering_of(str(write_json(tmp_path / "map.JSON", content)))
    assert {v: label.name for v, label in found.levels.items()} == {1: "L1", 2: "L2"}
    assert found.name_of(3) == "aorta"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"L1": [1, 2]}', "is not a name with one number"),
        ('{"L1": 1.5}', "is not a name with one number"),
        ('{"L1": true}', "is not a name with one number"),
        ('{"L1": -1}', "is not a name with one number"),
        ('{"L1": 1, "L1": 2}', "'L1' occurs twice"),
        ('{"L1": 1, "l1 vertebra": 2}', "both 1 and 2 are L1"),
        ('{"L1": 1, "L2": 1}', "1 is both L1 and L2"),
        ('{"liver": 1}', "no name in it is a level"),
        ("[1, 2]", "no names with numbers"),
        ("{", "does not say what the labels are"),
    ],
)
def test_a_json_file_that_is_not_a_map_is_refused(text, says, tmp_path: Path):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(UserError, match=r"map\.json") as caught:
        numbering_of(str(tmp_path / "map.json"))
    assert says in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        numbering_of(str(tmp_path / "away.json"))


@pytest.mark.parametrize("name", VERSE_FILES)
def test_any_crop_of_a_real_verse_label_image_is_read_as_verse(shared_data, name):
    stats = label_stats(read_labels(shared_data / name))
    order = sorted(stats, key=lambda value: ORDER[BY_VALUE[value].name])
    for first, stop in itertools.combinations(range(len(order) + 1), 2):
        values = order[first:stop]
        if values not in ([1], [1, 2]):  # masks and classes look the same
            assert title({value: stats[value] for value in values}) == VERSE.title, values


@pytest.mark.parametrize("name", VERSE_FILES)
def test_a_real_spine_in_another_numbering_is_never_read_as_verse(shared_data, name):
    stats = label_stats(read_labels(shared_data / name))
    order = sorted(stats, key=lambda value: ORDER[BY_VALUE[value].name])
    for first, stop in itertools.combinations(range(len(order) + 1), 2):
        values = order[first:stop]
        if len(values) < 3:
            continue
        parts = [stats[value] for value in values]
        for scheme in ("totalsegmentator", "totalsegmentator-v1"):
            numbers = numbers_of(scheme, [BY_VALUE[value].name for value in values])
            known = dict(zip(numbers.values(), parts, strict=True))
            assert title(known) in ("refused", BUILT_IN[scheme].title), (scheme, values)
        if values[0] != 1:
            assert title(dict(enumerate(parts, 1))) == "refused", values
        assert title(dict(enumerate(parts[::-1], 1))) == "refused", values


def test_a_whole_spine_numbered_by_totalsegmentator_is_recognised(shared_data):
    volume = read_labels(shared_data / "totalsegmentator" / "s0327_maskonly_seg.nii.gz")
    names = [BY_VALUE[value].name for value in values_in(volume.array)]
    for scheme in ("totalsegmentator", "totalsegmentator-v1"):
        other = numbered(volume, numbers_of(scheme, names))
        assert title(other) == BUILT_IN[scheme].title


@pytest.mark.parametrize("scheme", ["totalsegmentator-mr", "totalspineseg", "vista3d"])
@pytest.mark.parametrize("name", VERSE_FILES)
def test_other_numberings_are_refused_unless_they_are_named(shared_data, name, scheme):
    stats = label_stats(read_labels(shared_data / name))
    order = sorted(stats, key=lambda value: ORDER[BY_VALUE[value].name])
    for first, stop in itertools.combinations(range(len(order) + 1), 2):
        values = order[first:stop]
        numbers = numbers_of(scheme, [BY_VALUE[value].name for value in values])
        if len(values) > 8:
            known = dict(zip(numbers.values(), map(stats.get, values), strict=True))
            assert title(known) == "refused", values


def test_ambiguous_numberings_are_refused_unless_they_are_named(tmp_path: Path):
    levels = ["T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    true = spine(*levels)
    for scheme in ("totalsegmentator-mr", "totalspineseg", "vista3d"):
        labels = tmp_path / f"{scheme}.nii.gz"
        write_image(numbered(true, numbers_of(scheme, levels)), labels)
        with pytest.raises(UserError, match="--labels"):
            read_vertebra_labels(labels)
        found = read_vertebra_labels(labels, numbering_of(scheme))
        assert np.array_equal(found.volume.array, true.array)


def test_a_sacrum_with_the_number_of_l6_is_refused(shared_data):
    volume = read_labels(shared_data / "totalsegmentator" / "s0328_seg.nii.gz")
    array = volume.array.copy()
    array[array == 26] = 25
    assert title(volume.with_array(array)) == "refused"


@pytest.mark.parametrize("name", OTHER_FILES)
def test_instance_numbers_and_other_structures_are_refused(shared_data, name):
    with pytest.raises(UserError, match="--labels"):
        read_vertebra_labels(shared_data / name)


@pytest.mark.parametrize("name", ["s0327", "s0328"])
def test_a_segmentation_of_all_organs_gives_its_vertebrae(shared_data, name):
    folder = shared_data / "totalsegmentator"
    found = read_vertebra_labels(folder / f"{name}_structures.nii.gz")
    labels = next(folder.glob(f"{name}*_seg.nii.gz"))
    truth = read_labels(labels).array
    assert values_in(found.volume.array) == values_in(truth)
    assert (found.volume.array != truth).sum() < 0.005 * (truth > 0).sum()
    assert found.notes[0] == "The labels are read with the numbering of TotalSegmentator."


@pytest.mark.parametrize(
    "names",
    [("T12", "T13", "L1"), ("L4", "L5", "L6", "Sacrum"), ("L5", "L6"), ("T11", "L1", "L2")],
    ids="-".join,
)
def test_levels_with_values_out_of_anatomical_order_are_read(names):
    assert title(spine(*names)) == VERSE.title


def test_small_masks_and_single_levels_are_read_by_their_values():
    array = np.zeros((20, 10, 10), np.uint8)
    for place, value in enumerate((22, 21, 20)):
        array[5 * place + 1 : 5 * place + 4, 3:6, 3:6] = value
    grid = spine("L1").geometry
    small = Volume(array, type(grid)(array.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3)))
    assert title(small) == VERSE.title
    assert title(spine("L3")) == VERSE.title
    assert title(small.with_array(np.zeros_like(array))) == VERSE.title


def test_an_upside_down_spine_is_read_only_if_no_other_numbering_fits():
    lumbar, thoracic = spine("L1", "L2", "L3"), spine("T1", "T4", "L1")
    turned = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    g = lumbar.geometry
    side = Volume(lumbar.array, type(g)(g.shape, g.spacing_mm, g.origin_lps_mm, turned))
    assert title(side) == VERSE.title
    assert title(lumbar.with_array(lumbar.array[::-1].copy())) == "refused"
    assert title(thoracic.with_array(thoracic.array[::-1].copy())) == VERSE.title


def test_s1_and_the_rest_of_the_sacrum_are_one_level(tmp_path: Path):
    names = ("L5", "L6", "Sacrum")
    volume = spine(*names)
    above, first, rest = masks(volume, names)
    parts = [Part("L5", above, 1), Part("vertebrae_S1", first, 2), Part("sacrum", rest, 1, 1)]
    found = read_vertebra_labels(write_parts(tmp_path / "a.seg.nrrd", volume, parts))
    np.testing.assert_array_equal(found.volume.array == 26, first | rest)
    np.testing.assert_array_equal(found.volume.array == 24, above)


def test_segments_of_older_slicer_versions_are_separate_layers(tmp_path: Path):
    volume = spine("L2", "L3")
    first, second = masks(volume, ("L2", "L3"))
    none = {"LabelValue": "", "Layer": ""}
    parts = [Part("L3", first, 1, 0, fields=none), Part("L4", second, 1, 1, fields=none)]
    found = read_vertebra_labels(write_parts(tmp_path / "a.seg.nrrd", volume, parts))
    np.testing.assert_array_equal(found.volume.array == 22, first)
    np.testing.assert_array_equal(found.volume.array == 23, second)


def test_voxels_outside_all_segments_are_reported(tmp_path: Path):
    volume = spine("L2", "L3")
    first, second = masks(volume, ("L2", "L3"))
    path = write_parts(tmp_path / "a.seg.nrrd", volume, [Part("L2", first, 1)])
    stray = [Part("L2", first, 1), Part("", second, 7, fields={"ID": "", "Name": ""})]
    write_parts(path, volume, stray)
    found = read_vertebra_labels(path)
    assert values_in(found.volume.array) == [21]
    assert found.left_out


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_label_values_of_any_integer_type_are_remapped(kind):
    array = np.zeros((3, 4, 5), kind)
    array[0, 0], array[1, 1] = 5, 100
    assert values_in(array) == [5, 100]
    assert remap_values(array, {5: 20, 7: 21})[0, 0, 0] == 20
    assert remap_values(array, {5: 20, 7: 21}).max() == 20
    if np.iinfo(kind).min < 0:
        array[2, 2] = -3
        assert values_in(array) == [-3, 5, 100]
        assert remap_values(array, {5: 20}).sum() == 20 * 5
    if np.iinfo(kind).max > 1 << 20:
        array[2, 3] = 1 << 20
        assert values_in(array)[-1] == 1 << 20
        assert remap_values(array, {1 << 20: 9})[2, 3, 0] == 9


def test_labels_of_a_run_are_recognised_by_the_result_beside_them(tmp_path: Path):
    volume = spine("C1", "C2")
    write_image(volume, tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match="masks of one or two structures"):
        read_vertebra_labels(tmp_path / "a.nii.gz")
    result_of(volume, ("C1", "C2")).write(tmp_path / "a_result.json")
    found = read_vertebra_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.volume.array, volume.array)
    result_of(spine("C1", "C2", "C3"), ("C1", "C2", "C3")).write(tmp_path / "a_result.json")
    with pytest.raises(UserError, match="masks of one or two structures"):
        read_vertebra_labels(tmp_path / "a.nii.gz")
