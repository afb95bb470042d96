"""A review that is stopped while it is applied leaves old or new files, never a mixture."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from killed_commands import KilledCommands
from synthetic_cohort import NAMES, OTHER, write_cohort

from spinemamba.cohort.overview import write_overview
from spinemamba.cohort.triage.apply import whole_records
from spinemamba.common.atomic_files import sha256

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")

Contents = dict[str, bytes]


def contents(folder: Path) -> Contents:
    """Return all files of a folder by path, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_review(out: Path, path: Path) -> Path:
    """Write a review that renames and approves the first case, and flags the second."""
    decisions = []
    for case, status, levels in (("case-00", "approved", OTHER), ("case-01", "flagged", ())):
        result = out / "cases" / case / f"{case}_result.json"
        pairs = enumerate(zip(NAMES, levels, strict=False), start=1)
        decisions.append(
            {
                "case": case,
                "run_id": "r",
                "result_sha256": sha256(result.read_bytes()),
                "status": status,
                "levels": [{"id": k, "before": a, "after": b} for k, (a, b) in pairs],
                "note": "Count the ribs.",
                "time": "2026-01-01T00:00:00Z",
            }
        )
    values = {"schema": 1, "reviewer": "Ada", "decisions": decisions}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ground:
    """A review, and what it does undisturbed.

    Attributes:
        commands: Runs commands.
        before: Output folder of the cohort before the review.
        review: The review.
        after: Content of the folder afterwards.
        changes: Kind and place of each change of the undisturbed command.
    """

    commands: KilledCommands
    before: Path
    review: Path
    after: Contents
    changes: list[tuple[str, str]]

    def check(self, out: Path, at: int, how: signal.Signals) -> None:
        """Kill the command before a change, check what it leaves, and run it again."""
        shutil.copytree(self.before, out)
        killed = self.commands.run("apply-review", out, self.review, at=at, signal=how)
        where = f"{how.name} before {self.changes[at]}: {killed['text']}"
        assert killed["code"] == (3 if how is signal.SIGINT else -how), where
        again = self.commands.run("apply-review", out, self.review)
        assert again["code"] == 0, f"{where}\n{again['text']}"
        assert contents(out) == self.after, where
        shutil.rmtree(out)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two cases and a review."""
    folder = tmp_path_factory.mktemp("killed")
    out = write_cohort(folder, [0.3, 0.2])
    write_overview(out, whole_records(out), parquet=False)
    review = write_review(out, folder / "review.json")
    whole = Path(shutil.copytree(out, folder / "whole"))
    with KilledCommands() as commands:
        done = commands.run("apply-review", whole, review)
        assert done["code"] == 0, done["text"]
        changes = [(kind, Path(path).name) for kind, path in done["changes"]]
        yield Ground(commands, out, review, contents(whole), changes)


def test_the_review_changes_both_cases(ground: Ground):
    before = contents(ground.before)
    changed = {name for name, data in ground.after.items() if before.get(name) != data}
    for case in ("case-00", "case-01"):
        assert f"cases/{case}/{case}.seg.nrrd" in changed
        assert f"cases/{case}/{case}_review.json" in changed
    assert {"cohort.csv", "contact_sheet_1.png", "triage/cases.js"} <= changed
    log = json.loads(ground.after["cases/case-00/case-00_review.json"])["log"]
    assert [entry["action"] for entry in log] == [
        *("Use T10 to L1", "Approve (4)", "Note: Count the ribs.")
    ]


def steps_of_replacing(changes: list[tuple[str, str]], name: str) -> list[int]:
    """Return the change that renames a new folder to its empty place, and the next one."""
    away, place = (k for k, change in enumerate(changes) if change == ("os.rename", name))
    assert away == place - 1
    return [place, place + 1]


def test_a_case_that_is_being_replaced_is_old_or_new_after_kill_9(ground: Ground, tmp_path: Path):
    for at in steps_of_replacing(ground.changes, "case-00"):
        ground.check(tmp_path / "out", at, signal.SIGKILL)


def test_a_case_that_is_being_replaced_is_old_or_new_after_ctrl_c(ground: Ground, tmp_path: Path):
    place, _ = steps_of_replacing(ground.changes, "case-00")
    ground.check(tmp_path / "out", place, signal.SIGINT)


def test_tables_that_are_being_written_are_old_or_new(ground: Ground, tmp_path: Path):
    for name in ("measurements.csv", "triage"):
        at = max(k for k, change in enumerate(ground.changes) if change == ("os.rename", name))
        ground.check(tmp_path / "out", at, signal.SIGKILL)


@pytest.mark.long  # hundreds of runs
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_review_is_killed_before_every_change(
    ground: Ground, tmp_path: Path, how: signal.Signals
):
    sys.stdout.write(f"{len(ground.changes)} changes\n")
    for at in range(len(ground.changes)):
        ground.check(tmp_path / "out", at, how)


def test_a_relabelling_that_is_killed_is_done_by_a_second_call(ground: Ground, tmp_path: Path):
    case = ground.before / "cases" / "case-00" / "case-00"
    words = ["relabel", f"{case}_result.json", f"{case}.seg.nrrd"]
    pins = [word for k, name in enumerate(OTHER, start=1) for word in ("--pin", f"{name}#{k}")]
    inputs = contents(case.parent)

    def call(out: Path, *more: str) -> list[object]:
        return [*words, out / "a.seg.nrrd", *pins, *more]

    done = ground.commands.run(*call(tmp_path / "whole"))
    assert done["code"] == 0, done["text"]
    whole = contents(tmp_path / "whole")
    for at, (kind, _) in enumerate(done["changes"]):
        if kind not in ("os.rename", "os.remove"):
            continue
        out = tmp_path / f"out{at}"
        killed = ground.commands.run(*call(out), at=at, signal=signal.SIGKILL)
        assert killed["code"] == -signal.SIGKILL
        shown = {path.name: path.read_bytes() for path in out.glob("[!.]*")}
        assert shown.items() <= whole.items()
        assert ground.commands.run(*call(out, "--overwrite"))["code"] == 0
        assert contents(out) == whole
    assert contents(case.parent) == inputs
