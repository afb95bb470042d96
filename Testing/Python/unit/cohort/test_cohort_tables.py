"""Tables and contact sheets of a cohort, from the records of its cases."""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from json_contents import CONTENTS, RESULT
from matplotlib.image import imread, imsave

from spinemamba.cohort.contact_sheet import write_contact_sheets
from spinemamba.cohort.state import hash_of, stamp_of
from spinemamba.cohort.tables import COLUMNS, case_row, check_parquet, write_tables
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.cohort import CaseFile, CaseRecord, CaseSummary, Failure, Fingerprint
from spinemamba.protocol.result import LabelingResult

DONE: CaseRecord = CONTENTS["case"]
FAILED = replace(
    DONE,
    case="b",
    state="failed",
    summary=None,
    files={},
    attempts=2,
    failure=Failure("CRASH", "It ended, without a result.", "Try again."),
)


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_row_of_a_case_has_its_levels_doubt_and_flags(tmp_path: Path):
    write_tables(tmp_path, [DONE, FAILED])
    first, second = rows(tmp_path / "cohort.csv")
    assert list(first) == [name for name, _ in COLUMNS]
    assert (first["names"], first["certainties"], first["volumes_ml"]) == ("L1", "0.900", "33.00")
    assert (first["doubt"], first["ambiguous"], first["complete"]) == ("0.1", "yes", "cut")
    assert first["flags"] == "L1:volume_outlier L1:cut_by_image"
    assert (second["state"], second["code"], second["names"]) == ("failed", "CRASH", "")
    assert second["message"] == "It ended, without a result."
    (failure,) = rows(tmp_path / "failures.csv")
    assert (failure["case"], failure["remedy"], failure["attempts"]) == ("b", "Try again.", "2")


def test_every_value_of_a_row_has_the_type_of_its_column():
    for record in (DONE, FAILED):
        for (name, kind), value in zip(COLUMNS, case_row(record).values(), strict=True):
            assert value is None or type(value) is kind, name


@pytest.mark.parametrize(
    ("labelings", "doubt"),
    [((), 1.0), ((0.75, 0.2), 0.25), ((1.0,), 0.0), ((1.0000001,), 0.0)],
)
def test_the_doubt_is_that_about_the_likeliest_naming(labelings: tuple[float, ...], doubt: float):
    result = replace(RESULT, labelings=tuple(LabelingResult(("L1",), p) for p in labelings))
    assert CaseSummary.of(result).doubt == pytest.approx(doubt)


def test_measurements_of_all_cases_are_in_one_table(tmp_path: Path):
    records = []
    for name, value in (("a", "1.5"), ("b", "2.5")):
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        text = f"kind,name,quantity,value,how\nvertebra,L1,volume_ml,{value},counted\n"
        (folder / "m.csv").write_text(text, encoding="utf-8")
        records.append(replace(DONE, case=name, files={"measurements_table": CaseFile("m.csv", 9)}))
    write_tables(tmp_path, [*records, FAILED])
    table = rows(tmp_path / "measurements.csv")
    assert [(row["case"], row["name"], row["value"]) for row in table] == [
        ("a", "L1", "1.5"),
        ("b", "L1", "2.5"),
    ]
    assert "how" not in table[0]


def test_parquet_has_the_same_rows_with_types(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables(tmp_path, [DONE, FAILED], parquet=True)
    first, second = parquet.read_table(tmp_path / "cohort.parquet").to_pylist()
    assert (first["vertebrae"], first["doubt"], first["ambiguous"]) == (1, pytest.approx(0.1), True)
    assert (second["vertebrae"], second["code"]) == (None, "CRASH")


def test_parquet_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pyarrow") as caught:
        check_parquet()
    assert caught.value.code is Code.DEPENDENCY_MISSING


def with_pictures(out: Path, count: int) -> list[CaseRecord]:
    """Write thumbnails of cases; return records with growing doubt."""
    records = []
    for k in range(count):
        name = f"case-{k:03d}"
        folder = out / "cases" / name
        folder.mkdir(parents=True)
        files = {}
        for role in ("side", "front"):
            imsave(folder / f"{role}.png", np.full((30, 20, 3), k / count))
            files[role] = CaseFile(f"{role}.png", 1)
        summary = replace(DONE.summary, doubt=k / count)
        records.append(replace(DONE, case=name, files=files, summary=summary))
    return records


def test_contact_sheets_show_all_cases_and_old_ones_are_removed(tmp_path: Path):
    records = with_pictures(tmp_path, 41)
    (tmp_path / "contact_sheet_3.png").touch()
    paths = write_contact_sheets(tmp_path, [*records, FAILED])
    assert [path.name for path in paths] == ["contact_sheet_1.png", "contact_sheet_2.png"]
    assert set(tmp_path.glob("*.png")) == set(paths)
    large, small = map(imread, paths)
    assert large.shape[1] > 4 * small.shape[1]


def test_a_cohort_without_a_result_has_no_contact_sheet(tmp_path: Path):
    assert write_contact_sheets(tmp_path, [FAILED]) == []


def test_the_hash_of_an_input_depends_on_its_content_only(tmp_path: Path):
    paths = [tmp_path / name for name in "abc"]
    for path, text in zip(paths, ("1", "2", "1"), strict=True):
        path.write_text(text, encoding="utf-8")
    a, b, c = paths
    assert hash_of([a]) == hash_of([c]) != hash_of([b])
    assert hash_of([a, b]) == hash_of([b, c]) != hash_of([a, c])
    assert hash_of([tmp_path / "missing"]) == "0" * 64


def test_the_stamp_of_an_input_changes_with_size_and_time(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("1", encoding="utf-8")
    before = stamp_of([path])
    assert stamp_of([path]) == before
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 1))
    assert stamp_of([path]) != before
    assert stamp_of([tmp_path / "missing"]) == ""


def test_equal_fingerprints_give_equal_run_ids():
    one, same, other = (Fingerprint(x * 64, "1" * 64, "2" * 64) for x in "aab")
    assert one.run_id == same.run_id != other.run_id
    assert len(one.run_id) == 32


def test_cases_that_an_older_version_measured_lack_no_column_of_newer_ones(tmp_path: Path):
    records = []
    tables = {"a": "name,value,how\nL1,1,x\n", "b": "name,value,uncertainty,how\nL1,2,0.5,x\n"}
    for name, text in tables.items():
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        (folder / "m.csv").write_text(text, encoding="utf-8")
        records.append(replace(DONE, case=name, files={"measurements_table": CaseFile("m.csv", 9)}))
    write_tables(tmp_path, records)
    assert rows(tmp_path / "measurements.csv") == [
        {"case": "a", "name": "L1", "value": "1", "uncertainty": ""},
        {"case": "b", "name": "L1", "value": "2", "uncertainty": "0.5"},
    ]
