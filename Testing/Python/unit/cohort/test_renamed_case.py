"""After a case is renamed, all of its files and the overview of the cohort have the new levels."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_cohort import NAMES, OTHER, write_cohort

from spinemamba.cli.main import main
from spinemamba.cohort.overview import write_overview
from spinemamba.cohort.triage.apply import whole_records
from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import UserError
from spinemamba.imaging.fine_slices import with_fine_slices
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs import reviewed_files
from spinemamba.jobs.cohort_case import CohortCase
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.cohort import Fingerprint, read_record
from spinemamba.protocol.job import CohortJob
from spinemamba.protocol.manifest import read_manifest
from spinemamba.protocol.result import read_result

CASE = "case-00"
LOG = f"{CASE}_review.json"
"""The log of the review, which has the earlier names, too."""

OLD, NEW = set(NAMES) - set(OTHER), set(OTHER) - set(NAMES)


def of_level(text: str) -> set[str]:
    """Return the levels that a text names, also within disc names such as "L1-L2"."""
    return set(re.findall(r"(?<![A-Za-z0-9#])([TL]\d{1,2})(?![0-9A-Za-z]|\.\d)", text))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a cohort of one case with every output."""
    for name in ("pydicom", "highdicom", "pyarrow"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("cohort")
    out = write_cohort(folder, [0.3], ("stl", "nifti", "dicom-seg"), measurements=True)
    write_overview(out, whole_records(out), parquet=True)
    record = read_record(out / "cases" / CASE)
    assert record.missing == {}
    return out


@pytest.fixture(scope="module")
def renamed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the output folder with a renamed case."""
    out = Path(shutil.copytree(finished, tmp_path_factory.mktemp("renamed") / "out"))
    assert apply(out) == 0
    return out


def apply(out: Path, names: tuple[str, ...] = OTHER) -> int:
    """Rename and approve the case; return the exit code."""
    result = out / "cases" / CASE / f"{CASE}_result.json"
    pairs = enumerate(zip(NAMES, names, strict=True), start=1)
    decision = {
        "case": CASE,
        "run_id": "r",
        "result_sha256": sha256(result.read_bytes()),
        "status": "approved",
        "levels": [{"id": k, "before": a, "after": b} for k, (a, b) in pairs if names != NAMES],
        "note": "",
        "time": "2026-01-01T00:00:00Z",
    }
    review = out.parent / "review.json"
    values = {"schema": 1, "reviewer": "Ada", "decisions": [decision]}
    review.write_text(json.dumps(values), encoding="utf-8")
    return main(["apply-review", str(out), str(review)])


def texts(out: Path) -> dict[str, str]:
    """Return what the files of a cohort say about levels, by path; pictures have no text."""
    import pydicom
    from pyarrow import parquet

    found = {"names of files": " ".join(path.stem.replace("_", " ") for path in out.rglob("*"))}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name == LOG:
            continue
        if path.suffix in (".json", ".csv", ".html") and path.name != "triage.html":
            found[name] = path.read_text(encoding="utf-8").replace("_", " ")
        if path.suffix == ".dcm":
            data = pydicom.dcmread(path, stop_before_pixels=True)
            found[name] = " ".join(item.SegmentLabel for item in data.SegmentSequence)
        if path.suffix == ".parquet":
            found[name] = str(parquet.read_table(path).column("names").to_pylist())
        if path.name.endswith(".seg.nrrd"):
            vertebrae = read_vertebra_labels(path).file.vertebrae
            found[name] = " ".join(label.segment.name for label in vertebrae)
        if path.name == "cases.js":
            script = path.read_text(encoding="utf-8")
            content = json.loads(script[script.index("{") : script.rindex("}") + 1])
            found[name] = json.dumps(content["cases"])
    return found


def pictures(out: Path) -> dict[str, bytes]:
    """Return the files without text that show levels."""
    ends = (".png", ".jpg", ".nii.gz", "_preview.zip", ".stl")
    paths = (path for path in out.rglob("*") if path.name.endswith(ends))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def test_no_file_has_an_earlier_name_after_a_case_is_renamed(finished: Path, renamed: Path):
    before, drawn = texts(finished), pictures(finished)
    silent = {name for name, text in before.items() if not of_level(text) & OLD}
    assert silent == {"failures.csv"}
    after, redrawn = texts(renamed), pictures(renamed)
    wrong = {name: sorted(of_level(t) & OLD) for name, t in after.items() if of_level(t) & OLD}
    assert wrong == {}
    assert {name for name, text in after.items() if not of_level(text) & NEW} == silent
    expected = {name.replace("T11.", "T10.") for name in before}
    assert set(after) == expected
    kept = {name for name, data in drawn.items() if redrawn.get(name) == data}
    # These two show bones without names, in the colours of the levels or none.
    assert kept <= {f"triage/{CASE}/ribs.jpg", f"triage/{CASE}/side.jpg"}


def test_a_renamed_case_has_the_status_and_new_identifiers(finished: Path, renamed: Path):
    import pydicom

    folder = renamed / "cases" / CASE
    record = read_record(folder)
    assert record.is_approved
    assert {file.name for file in record.files.values()} >= {f"{CASE}.nii.gz", f"{CASE}.dcm"}
    manifest = read_manifest(folder / "surfaces")
    assert [(v.level, v.reviewed, v.reviewed_by) for v in manifest.vertebrae] == [
        (name, True, "Ada") for name in OTHER
    ]
    assert {f.name for v in manifest.vertebrae for f in v.files} == {
        path.name for path in (folder / "surfaces").glob("*.stl")
    }
    before, after = (
        pydicom.dcmread(out / "cases" / CASE / f"{CASE}.dcm", stop_before_pixels=True)
        for out in (finished, renamed)
    )
    assert after.SOPInstanceUID != before.SOPInstanceUID
    uids = {item.TrackingUID for data in (before, after) for item in data.SegmentSequence}
    assert len(uids) == 2 * len(NAMES)


def test_an_approval_alone_is_in_the_manifest_of_the_surfaces(finished: Path, tmp_path: Path):
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    surfaces = out / "cases" / CASE / "surfaces"
    assert not any(v.reviewed for v in read_manifest(surfaces).vertebrae)
    assert apply(out, NAMES) == 0
    manifest = read_manifest(surfaces)
    assert [(v.level, v.reviewed_by) for v in manifest.vertebrae if v.reviewed] == [
        (name, "Ada") for name in NAMES
    ]
    with (surfaces / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert {row["reviewed_by"] for row in csv.DictReader(file)} == {"Ada"}


def test_what_is_not_renamed_is_kept_or_removed_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    out = write_cohort(tmp_path, [0.3], ("nifti",))
    folder = out / "cases" / CASE
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("T11 looks odd", encoding="utf-8")

    def fail(case: CohortCase, folder: Path) -> dict[str, Path]:
        raise UserError("The disk is odd.", "Try again.")

    monkeypatch.setattr(CohortCase, "_write_nifti", fail)
    assert apply(out) == 0
    said = capsys.readouterr().out
    assert "nifti removed (The disk is odd. Try again.)" in said
    assert "not renamed, because they are not of the cohort: notes/mine.txt" in said
    record = read_record(folder)
    assert set(record.missing) == {"nifti"}
    assert not (folder / f"{CASE}.nii.gz").exists()
    assert (folder / "notes" / "mine.txt").exists()
    assert any("notes/mine.txt" in text for text in record.warnings)
    result = read_result(folder / f"{CASE}_result.json")
    assert tuple(item.name for item in result.instances) == OTHER


def test_the_image_of_fine_labels_is_subdivided_again(tmp_path: Path):
    path = tmp_path / "thick.nii.gz"
    geometry = Geometry((8, 8, 8), (4.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    image = Volume(np.arange(512, dtype=np.int16).reshape(geometry.shape), geometry)
    write_image(image, path)
    fingerprint = Fingerprint(*3 * ("0" * 64,))
    job = CohortJob(path, tmp_path / "a", case="a", source=path.name, fingerprint=fingerprint)
    for labels in (image, with_fine_slices(image)):
        assert reviewed_files._image_of(job, labels).geometry.shape == labels.geometry.shape
    other = Geometry((8, 8, 9), (4.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    with pytest.raises(UserError, match="different grids"):
        reviewed_files._image_of(job, Volume(np.zeros(other.shape, np.uint8), other))
