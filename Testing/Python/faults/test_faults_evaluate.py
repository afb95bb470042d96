"""Evaluating and measuring: cases without vertebrae, outputs, and the environment."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from curved_spine import one_block, run_command, two_levels

import spinemamba.jobs.measure
import spinemamba.report.evaluation_page
from spinemamba.cli.main import main
from spinemamba.evaluation import cohort
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.protocol.job import JOB, MeasureJob

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Labels to measure."""
    folder = tmp_path_factory.mktemp("labels")
    write_image(two_levels(), folder / "labels.nii.gz")
    return folder


def pair(folder: Path) -> None:
    """Write two label images, and one on another grid."""
    block = one_block()
    write_image(block, folder / "a.nii.gz")
    write_image(one_block(empty=True), folder / "empty.nii.gz")
    (folder / "far").mkdir()
    place = replace(block.geometry, origin_lps_mm=(0.0, 0.0, 9.0))
    write_image(replace(block, geometry=place), folder / "far" / "b.nii.gz")


@pytest.mark.parametrize("name", ["vertebrae.csv", "cases.csv"])
def test_evaluate_does_not_overwrite_its_table_of_cases(name, tmp_path, capsys, outcome):
    pair(tmp_path)
    text = "predicted,reference\na.nii.gz,a.nii.gz\n"
    (tmp_path / name).write_text(text)
    code, output, error = run_command(
        ["evaluate", str(tmp_path / name), "--out", str(tmp_path)], capsys
    )
    assert (code, output) == (2, "")
    assert f"{name} is the input; it would be overwritten" in error
    assert (tmp_path / name).read_text() == text
    assert len(list(tmp_path.glob("*.*"))) == 3
    outcome("places of outputs", "refused")


@pytest.mark.parametrize("suffix", ["measurements.csv", "measurements.json", "report.html"])
def test_measure_does_not_overwrite_its_input(suffix, folder, tmp_path, capsys, outcome):
    out = tmp_path / f"x_{suffix}"
    os.link(folder / "labels.nii.gz", out)
    before = out.read_bytes()
    (tmp_path / "labels.nii.gz").symlink_to(out)
    command = ["measure", str(tmp_path / "labels.nii.gz"), "--name", "x", "--out", str(tmp_path)]
    code, _, error = run_command(command, capsys)
    assert code == 2
    assert "it would be overwritten" in error
    assert out.read_bytes() == before
    outcome("places of outputs", "refused")


@pytest.mark.parametrize("command", ["measure", "evaluate"])
def test_a_file_in_place_of_the_output_folder_is_refused(
    command, folder, tmp_path, capsys, outcome
):
    (tmp_path / "out").write_text("a file")
    labels = str(folder / "labels.nii.gz")
    given = [labels] if command == "measure" else [labels, labels]
    code, output, error = run_command([command, *given, "--out", str(tmp_path / "out")], capsys)
    assert (code, output) == (2, "")
    assert "is not a folder" in error
    assert (tmp_path / "out").read_text() == "a file"
    outcome("places of outputs", "refused")


@pytest.mark.parametrize("command", ["measure", "evaluate"])
def test_a_full_disk_while_writing_the_page_leaves_no_file(
    command, tmp_path, capsys, monkeypatch, outcome
):
    write_image(two_levels(), tmp_path / "labels.nii.gz")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    module = spinemamba.jobs.measure if command == "measure" else spinemamba.report.evaluation_page
    monkeypatch.setattr(module, "write_page", full)
    labels = str(tmp_path / "labels.nii.gz")
    given = [labels] if command == "measure" else [labels, labels, "--no-distances"]
    code, output, error = run_command([command, *given, "--out", str(tmp_path / "out")], capsys)
    assert (code, output) == (2, "")
    assert "No space left on device" in error
    assert not (tmp_path / "out").exists()
    outcome("places of outputs", "refused")


def evaluation(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_text("utf-8"))


EMPTY = {
    "both": (("empty", "empty"), None, "Neither the segmentation nor the reference"),
    "the segmentation": (("empty", "a"), 0.0, "The segmentation contains no vertebra"),
    "the reference": (("a", "empty"), 0.0, "The reference contains no vertebra"),
}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("side", EMPTY)
def test_labels_without_vertebrae_give_all_files_and_a_reason(
    side, alone, tmp_path, capsys, outcome
):
    pair(tmp_path)
    (found, true), bone, note = EMPTY[side]
    rows = [f"case,{found}.nii.gz,{true}.nii.gz"] + ([] if alone else ["other,a.nii.gz,a.nii.gz"])
    (tmp_path / "table.csv").write_text("\n".join(["case,predicted,reference", *rows]) + "\n")
    out = tmp_path / "out"
    code, output, _ = run_command(
        ["evaluate", str(tmp_path / "table.csv"), "--out", str(out)], capsys
    )
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "cases.csv",
        "evaluation.html",
        "evaluation.json",
        "vertebrae.csv",
    ]
    case = evaluation(out)["cases"][0]
    assert case["bone_dice"] == bone
    assert case["note"].startswith(note)
    for text in (output, *(path.read_text("utf-8") for path in out.glob("[ce][av][sa]*.[ch]*"))):
        assert note in text
    if not alone:
        assert evaluation(out)["cases"][1]["bone_dice"] == 1
    outcome("cases without vertebrae", "right")


def test_an_error_in_one_case_keeps_the_others(tmp_path, capsys, monkeypatch, outcome):
    pair(tmp_path)
    rows = ["bad,far/b.nii.gz,a.nii.gz", "worse,a.nii.gz,empty.nii.gz", "good,a.nii.gz,a.nii.gz"]
    (tmp_path / "table.csv").write_text("\n".join(["case,predicted,reference", *rows]) + "\n")
    compare = cohort.compare

    def compare_or_fail(predicted: Volume, reference: Volume, **options: bool) -> object:
        if not reference.array.any():
            raise IndexError("a fault of ours")
        return compare(predicted, reference, **options)

    monkeypatch.setattr(cohort, "compare", compare_or_fail)
    out = tmp_path / "out"
    code, _, error = run_command(
        ["evaluate", str(tmp_path / "table.csv"), "--out", str(out)], capsys
    )
    assert code == 2
    assert "bad: The grids differ" in error
    assert "worse: Something went wrong inside SpineMamba (IndexError)." in error
    assert [case.get("bone_dice") for case in evaluation(out)["cases"]] == [None, None, 1]
    outcome("cases without vertebrae", "right")


def run(module: str, *arguments: str, folder: Path, **settings: str) -> tuple[int, str]:
    """Run a module of the package in a process; return its exit code and output."""
    package = Path(sys.modules["spinemamba"].__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package), **settings},
        stdin=subprocess.PIPE,  # open until the end, because the worker stops when it is closed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = process.stdout.read()
        return process.wait(120), said


INLINE = "module://matplotlib_inline.backend_inline"
DAMAGED = b"text.usetex: True\nbackend: nonsense\n\xff\xfe"


def test_the_worker_plots_despite_the_backend_of_jupyter(folder, tmp_path, outcome):
    page = tmp_path / "page.html"
    job = MeasureJob(folder / "labels.nii.gz", tmp_path / "measurements.json", page=page)
    JOB.write(job, tmp_path / "job.json")
    code, said = run("spinemamba.worker", "job.json", folder=tmp_path, MPLBACKEND=INLINE)
    assert code == 0, said
    assert "data:image/png" in page.read_text("utf-8")
    outcome("settings of matplotlib", "right")


def test_the_shell_plots_with_any_matplotlib_setting(tmp_path, outcome):
    pair(tmp_path)
    # Also in the working folder, which matplotlib reads first.
    for name in ("matplotlibrc", "damaged"):
        (tmp_path / name).write_bytes(DAMAGED)
    command = ["evaluate", "a.nii.gz", "a.nii.gz", "--no-distances", "--out", "out"]
    settings = {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "damaged", "MPLCONFIGDIR": "damaged/x"}
    code, said = run("spinemamba", *command, folder=tmp_path, **settings)
    assert code == 0, said
    assert "<svg" in (tmp_path / "out" / "evaluation.html").read_text("utf-8")
    outcome("settings of matplotlib", "right")


@pytest.mark.parametrize("command", ["measure", "evaluate"])
def test_a_closed_terminal_does_not_stop_the_files(command, folder, tmp_path, monkeypatch, outcome):
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    labels = str(folder / "labels.nii.gz")
    given = [labels] if command == "measure" else [labels, labels, "--no-distances"]
    main([command, *given, "--out", str(tmp_path / "out")])
    names = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert names == {".csv", ".json", ".html"}
    outcome("a closed terminal", "right")
