"""Files of an export: names, manifest, and all files of a vertebra or none."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from spinemamba.common import atomic_files
from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import SCRATCH
from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import LeftOut, Vertebra
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask
from spinemamba.export.names import safe_case, stems
from spinemamba.protocol.manifest import Origin, read_manifest

FORMATS = ("stl", "ply", "obj", "glb")
ALL = MeshOptions(formats=FORMATS)


def box(level: str = "L1", size: int = 6, **more) -> Vertebra:
    """A vertebra of a small box, at a position that depends on its level."""
    mask = Mask(np.ones((size, size + 1, size + 2), np.uint8))
    return Vertebra(level, lambda: mask, lambda index: index * 1.5 + len(level), **more)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files_of(*stems_: str) -> list[str]:
    return sorted([*(f"{s}.{f}" for s in stems_ for f in FORMATS), "manifest.csv", "manifest.json"])


@pytest.fixture
def export(tmp_path):
    def run(*vertebrae: Vertebra, options: MeshOptions = ALL, **target):
        return Export(vertebrae, Target(tmp_path, **target), options)

    return run


def test_file_names_have_no_number_that_reads_like_a_label():
    assert stems("spine", ["C1", "T12", "Sacrum"]) == ["spine_C1", "spine_T12", "spine_Sacrum"]
    assert stems("a", ["L1", "L1"]) == ["a_L1", "a_L1-2"]


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("Müller, Hans", "Muller_Hans"),
        ("../../etc/passwd", "etc_passwd"),
        ("a" * 300, "a" * 60),
        ("脊柱", "spine-ab137b0f"),
        ("山田 3", "3-2a3371d4"),
        ("Łódź", "odz-bc8847fc"),
        ("", "spine"),
        ('c:\\x|y?"z*', "c_x_y_z"),
        ("case.1", "case_1"),
    ],
)
def test_a_case_name_is_valid_on_every_file_system(given, safe):
    assert safe_case(given) == safe


def test_the_manifest_describes_every_file_correctly(export, tmp_path):
    origin = Origin("starter", "0.1", "abc", "0.2", "run-7")
    export(
        box("L1", reviewed=True, reviewed_by="Dr. A", origin=origin), box("T12"), case="c 1"
    ).run()
    assert names_in(tmp_path) == files_of("c_1_T12", "c_1_L1")
    values = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    first, second = values["vertebrae"]
    assert [first["level"], second["level"]] == ["T12", "L1"]
    assert (first["reviewed"], second["reviewed"], second["reviewed_by"]) == (False, True, "Dr. A")
    assert second["origin"]["model_hash"] == "abc"
    assert second["coordinate_system"] == "LPS"
    assert second["watertight"] is True
    assert second["euler_number"] == 2
    assert second["label_volume_ml"] == pytest.approx(6 * 7 * 8 * 1.5**3 / 1000)
    for entry in [*first["files"], *second["files"]]:
        data = (tmp_path / entry["name"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
        assert entry["unit"] == ("m" if entry["name"].endswith("glb") else "mm")
    rows = list(csv.DictReader((tmp_path / "manifest.csv").open(encoding="utf-8")))
    assert [row["file"] for row in rows] == [
        entry["name"] for v in values["vertebrae"] for entry in v["files"]
    ]
    assert read_manifest(tmp_path).contents()["manifest.json"] == (
        (tmp_path / "manifest.json").read_bytes()
    )


def test_existing_surfaces_are_replaced_only_on_request(export, tmp_path):
    export(box("L1")).run()
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    with pytest.raises(UserError, match=r"spine_L1.* already exist"):
        export(box("L1", size=9))
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before
    export(box("L1", size=9), overwrite=True).run()
    assert (tmp_path / "spine_L1.stl").read_bytes() != before["spine_L1.stl"]
    assert len(read_manifest(tmp_path).vertebrae) == 1


def test_a_second_export_keeps_the_manifest_entries_of_the_first(export, tmp_path):
    export(box("L1")).run()
    export(box("T12")).run()
    assert [v.level for v in read_manifest(tmp_path).vertebrae] == ["T12", "L1"]
    with pytest.raises(UserError, match="of the case 'spine'") as caught:
        export(box("L2"), case="other", overwrite=True)
    assert caught.value.code is Code.OUTPUT_BAD


def test_two_vertebrae_of_one_level_get_two_files(export, tmp_path):
    export(box("L1"), box("L1", size=8)).run()
    assert names_in(tmp_path) == files_of("spine_L1", "spine_L1-2")


def test_a_missing_or_empty_vertebra_does_not_stop_the_others(export, tmp_path):
    def gone() -> Mask:
        raise LeftOut("Its segment was deleted.")

    empty = Mask(np.zeros((3, 3, 3), np.uint8))
    manifest = export(
        box("T12"),
        Vertebra("L1", gone, lambda index: index),
        Vertebra("L2", lambda: empty, lambda index: index),
        box("L3"),
    ).run()
    assert [v.level for v in manifest.vertebrae] == ["T12", "L3"]
    assert manifest.left_out == (("L1", "Its segment was deleted."), ("L2", "It is empty."))
    assert read_manifest(tmp_path) == manifest


def test_a_stopped_export_leaves_complete_vertebrae_and_a_manifest(export, tmp_path):
    steps = export(box("T12"), box("L1"), box("L2")).steps()
    for step in steps:
        if step.level == "L1" and step.written is None and step.fraction > 0.5:
            break
    steps.close()
    assert names_in(tmp_path) == files_of("spine_T12")
    assert [v.level for v in read_manifest(tmp_path).vertebrae] == ["T12"]


@pytest.mark.parametrize("fails_at", range(6))
def test_a_full_disk_leaves_all_files_of_a_vertebra_or_none(
    export, tmp_path, monkeypatch, fails_at
):
    run = export(box("T12"), box("L1"))
    calls = {"left": 6 + fails_at}
    sync = os.fsync

    def full(descriptor: int) -> None:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    with pytest.raises(UserError, match="No space left") as caught:
        run.run()
    assert caught.value.code is Code.DISK_FULL
    assert names_in(tmp_path) == files_of("spine_T12")
    assert [v.level for v in read_manifest(tmp_path).vertebrae] == ["T12"]


@pytest.mark.parametrize("fails_at", range(6))
def test_a_failed_rename_restores_the_earlier_surfaces(export, tmp_path, monkeypatch, fails_at):
    export(box("L1")).run()
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    replace, calls = Path.replace, {"left": fails_at}

    def fails(self: Path, target: Path) -> Path:
        if self.parent.name.startswith(SCRATCH):
            calls["left"] -= 1
            if calls["left"] == -1:
                raise PermissionError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(UserError, match="Permission denied"):
        export(box("L1", size=9), overwrite=True).run()
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before


def test_an_unwritable_export_folder_is_reported(export, tmp_path, monkeypatch):
    def refuse(self: Path, *args: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    run = export(box("L1"))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"Cannot write .*: Permission denied") as caught:
        run.run()
    assert caught.value.code is Code.OUTPUT_BAD
    monkeypatch.undo()
    assert names_in(tmp_path) == []


def test_a_missing_folder_and_an_empty_selection_are_reported(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Export([box()], Target(tmp_path / "away"), ALL)
    with pytest.raises(UserError, match="no vertebra"):
        Export([], Target(tmp_path), ALL)


def test_a_damaged_manifest_is_not_overwritten(export, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a manifest of this program"):
        export(box(), overwrite=True)
