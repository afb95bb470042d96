"""Files of parts: names and codes, the command, surfaces, DICOM SEG."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import trimesh
from admesh_check import solid_by_admesh

from spinemamba.anatomy import parts as anatomy
from spinemamba.anatomy.labels import BY_VALUE, LABELS
from spinemamba.anatomy.parts import DISC, PARTS, level_and_part, part_info, part_value
from spinemamba.anatomy.terminology import level_coded
from spinemamba.cli import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.seg_nrrd import read_segmentation
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.phantom import PhantomOptions, make_phantom

CODE = re.compile(r"(SCT\^\d{6,18}|99SPINE\^[\w-]+)\^[^~^]+")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the labels of two vertebrae and everything that the command writes of them."""
    folder = tmp_path_factory.mktemp("parts")
    options = PhantomOptions(first="L1", last="L2", spacing_mm=(2.0, 1.5, 1.5), tight=True)
    write_image(make_phantom(2, options).labels, folder / "spine.nii.gz")
    words = ["parts", str(folder / "spine.nii.gz"), str(folder / "spine_parts.seg.nrrd")]
    assert main([*words, "--stl", str(folder / "stl")]) == 0
    return folder


def test_every_value_has_one_name_and_a_code_and_reads_back():
    values = {part_value(label.name, part) for label in LABELS for part in (*PARTS, DISC)}
    assert len(values) == len(LABELS) * (len(PARTS) + 1)
    names = set()
    for value in (*values, anatomy.CANAL.value):
        info = part_info(value, "L2")
        _, _, kind, modifier, _, region, _ = info.terminology.split("~")
        assert CODE.fullmatch(kind), kind
        assert modifier == "^^" or CODE.fullmatch(modifier)
        assert region == "^^" or CODE.fullmatch(region)
        assert level_coded(info.terminology) is None
        assert info.segment_id == f"P{value}"
        label, part = level_and_part(value)
        assert part_value(label.name if label else "", part) == value
        names.add(info.name)
    assert len(names) == len(values) + 1


@pytest.mark.parametrize("value", [0, 1, 40, 16, 125, 2199, 2941, 2241])
def test_other_values_are_no_part(value):
    with pytest.raises(KeyError):
        level_and_part(value)


def test_dicoms_own_codes_of_parts_and_discs_are_used():
    codes = pytest.importorskip("pydicom.sr.codedict").codes
    known = {
        anatomy.PEDICLES[0]: codes.SCT.PedicleOfVertebra,
        anatomy.LAMINAE[0]: codes.SCT.LaminaOfVertebra,
        anatomy.SPINOUS: codes.SCT.SpinousProcessOfVertebra,
        anatomy.TRANSVERSE[0]: codes.SCT.StructureOfTransverseProcessOfVertebra,
        anatomy.SUPERIOR[0]: codes.SCT.SuperiorArticularProcessOfVertebra,
        anatomy.INFERIOR[0]: codes.SCT.InferiorArticularProcessOfVertebra,
        anatomy.CANAL: codes.SCT.VertebralCanal,
    }
    for part, code in known.items():
        assert part.code.split("^")[1] == code.value
    assert anatomy.LAMINAE[0].modifier_code.split("^")[1] == codes.SCT.Left.value
    assert anatomy.LAMINAE[1].modifier_code.split("^")[1] == codes.SCT.Right.value
    for upper, lower in anatomy.DISC_CODES:
        name = f"{upper}{'S1' if lower == 'Sacrum' else lower}Disc"
        assert anatomy.DISC_CODES[upper, lower] == getattr(codes.SCT, name).value


def test_the_command_writes_named_parts_of_the_same_voxels(folder):
    labels = read_labels(folder / "spine.nii.gz")
    file = read_segmentation(folder / "spine_parts.seg.nrrd")
    array = file.layers[0].array
    assert file.layers[0].geometry.matches(labels.geometry)
    assert np.array_equal((array >= 100) & (array % 100 != DISC.value), labels.array > 0)
    by_value = {segment.value: segment for segment in file.segments}
    assert set(by_value) == set(np.unique(array).tolist()) - {0}
    assert by_value[2004].name == "L1 left pedicle"
    assert by_value[2040].name == "L1-L2 disc"
    assert BY_VALUE[20].snomed in by_value[2004].tags["TerminologyEntry"].split("~")[5]


def test_parts_are_not_read_as_vertebrae(folder):
    with pytest.raises(UserError):
        read_vertebra_labels(folder / "spine_parts.seg.nrrd")


def test_surfaces_are_watertight_and_listed(folder):
    with (folder / "stl" / "spine_parts_surfaces.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (
        len(rows)
        == len({row["file"] for row in rows})
        == len(read_segmentation(folder / "spine_parts.seg.nrrd").segments)
    )
    row = next(row for row in rows if row["segment"] == "L2 spinous process")
    mesh = trimesh.load(folder / "stl" / row["file"])
    assert mesh.is_watertight
    assert mesh.volume / 1000 == pytest.approx(float(row["label_ml"]), rel=0.05)


def test_admesh_finds_no_fault_in_the_surfaces_of_parts(folder):
    with (folder / "stl" / "spine_parts_surfaces.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = read_segmentation(folder / "spine_parts.seg.nrrd").layers[0]
    for row in rows:
        found = solid_by_admesh(folder / "stl" / row["file"])
        assert found.faults == {}, row["file"]
        assert found.volume / 1000 == pytest.approx(float(row["mesh_ml"]), abs=0.001)
        assert row["coordinate_system"] == "LPS"
        points = labels.geometry.to_lps_mm(np.argwhere(labels.array == int(row["value"])))
        assert found.low == pytest.approx(points.min(axis=0), abs=2.0)
        assert found.high == pytest.approx(points.max(axis=0), abs=2.0)


def test_nothing_is_overwritten_unasked(folder, capsys):
    before = (folder / "spine_parts.seg.nrrd").read_bytes()
    words = ["parts", str(folder / "spine.nii.gz"), str(folder / "spine_parts.seg.nrrd")]
    assert main(words) == 2
    assert (folder / "spine_parts.seg.nrrd").read_bytes() == before
    assert main([*words, "--overwrite", "--dicom-seg", str(folder / "x.dcm")]) == 2
    assert "--source" in capsys.readouterr().err
