"""``spinemamba stl`` and the options of surfaces for printing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from admesh_check import solid_by_admesh
from json_contents import CONTENTS, RESULT

from spinemamba.anatomy.terminology import segment_info
from spinemamba.cli import main
from spinemamba.cli.results import stl
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.protocol.manifest import MANIFEST


@pytest.fixture
def labels() -> Volume:
    """L1 and L2; beside L1 a crumb of 27 mm3, beside L2 a piece of 216 mm3."""
    array = np.zeros((40, 30, 30), np.uint8)
    array[22:36, 6:20, 6:20] = 20
    array[22:25, 24:27, 6:9] = 20
    array[4:18, 6:20, 6:20] = 21
    array[4:10, 23:29, 6:12] = 21
    return Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0), (3.0, 4.0, 5.0), np.eye(3)))


def segment_as(labels: Volume):
    def run(job) -> SimpleNamespace:
        write_labels(labels, job.output, [segment_info(20), segment_info(21)])
        result = replace(RESULT, instances=())
        result.write(job.result)
        return SimpleNamespace(labels=job.output, picture=job.picture, result_data=result)

    return run


def entries(folder: Path) -> dict[str, dict]:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    return {entry["level"]: entry for entry in manifest["vertebrae"]}


def test_one_command_segments_and_writes_surfaces(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(stl, "run_with_progress_bar", segment_as(labels))
    image, out = tmp_path / "doe.nii.gz", tmp_path / "out"
    assert main(["stl", str(image), str(out), "--levels", "L1-L2", "--reviewed-by", "Dr. A"]) == 0
    assert (out / "doe.seg.nrrd").is_file()
    found = entries(out)
    assert list(found) == ["L1", "L2"]
    assert all(entry["reviewed_by"] == "Dr. A" and entry["reviewed"] for entry in found.values())
    for level in found:
        mesh = trimesh.load(out / f"doe_{level}.stl")
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(1000 * found[level]["mesh_volume_ml"], rel=1e-3)


def test_a_dicom_folder_does_not_name_the_files(labels, tmp_path, monkeypatch):
    monkeypatch.setattr(stl, "run_with_progress_bar", segment_as(labels))
    folder = tmp_path / "DOE^JOHN"
    folder.mkdir()
    assert main(["stl", str(folder), str(tmp_path / "out"), "--yes"]) == 0
    assert (tmp_path / "out" / "spine_L1.stl").is_file()
    assert not any("DOE" in path.name for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("options", "bodies", "crumbs"), [([], (1, 2), (1, 0)), (["--keep-crumbs"], (2, 2), (0, 0))]
)
def test_crumbs_are_left_out_unless_they_are_wanted(labels, tmp_path, options, bodies, crumbs):
    path, out = tmp_path / "a.seg.nrrd", tmp_path / "out"
    write_labels(labels, path, [segment_info(20), segment_info(21)])
    assert main(["export", str(path), "--stl", str(out), "--yes", *options]) == 0
    for level, body, crumb in zip(("L1", "L2"), bodies, crumbs, strict=True):
        entry = entries(out)[level]
        assert (entry["bodies"], entry["crumbs"]) == (body, crumb)
        mesh = trimesh.load(out / f"a_{level}.stl")
        assert mesh.is_watertight
        assert len(mesh.split()) == body
        assert any("too small to print" in text for text in entry["findings"]) == bool(crumb)
    assert entries(out)["L1"]["crumbs_ml"] == pytest.approx(0.027 if crumbs[0] else 0, abs=0.01)


def test_admesh_finds_no_fault_in_a_range_of_levels(labels, tmp_path):
    path, out = tmp_path / "a.seg.nrrd", tmp_path / "out"
    write_labels(labels, path, [segment_info(20), segment_info(21)])
    assert main(["export", str(path), "--stl", str(out), "--yes", "--levels", "L1-L2"]) == 0
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    for entry, value in zip(manifest["vertebrae"], (20, 21), strict=True):
        (file,) = entry["files"]
        assert (entry["coordinate_system"], file["unit"]) == ("LPS", "mm")
        found = solid_by_admesh(out / file["name"])
        assert (found.faults, found.pieces) == ({}, entry["bodies"])
        assert found.volume == pytest.approx(1000 * entry["mesh_volume_ml"], rel=1e-3)
        points = labels.geometry.to_lps_mm(np.argwhere(labels.array == value))
        points = points[points[:, 1] < 24] if value == 20 else points  # without the crumb
        assert found.low == pytest.approx(points.min(axis=0), abs=1.0)
        assert found.high == pytest.approx(points.max(axis=0), abs=1.0)


def test_a_blank_reviewer_is_refused(labels, tmp_path, capsys):
    path = tmp_path / "a.seg.nrrd"
    write_labels(labels, path, [segment_info(20), segment_info(21)])
    assert main(["export", str(path), "--stl", str(tmp_path / "o"), "--reviewed-by", " "]) == 2
    assert "reviewer is empty" in capsys.readouterr().err


def test_a_manifest_without_crumbs_is_still_read():
    values = MANIFEST.to_json(CONTENTS["manifest"])
    values = json.loads(json.dumps(values))
    for entry in values["vertebrae"]:
        del entry["crumbs"], entry["crumbs_ml"]
    assert MANIFEST.parse(values).vertebrae[0].crumbs == 0
