"""The commands: outputs, exit codes, messages, logs and progress."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spinemamba.cli.arguments import split_name
from spinemamba.cli.console import ProgressBar, Stream, print_line, safe_streams, table
from spinemamba.cli.demo import with_dice
from spinemamba.cli.main import COMMANDS, command_module, main
from spinemamba.cli.segment import BESIDE, report_paths
from spinemamba.common import atomic_files
from spinemamba.common.errors import Cancelled
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.result import InstanceResult, read_result


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CT of two vertebrae."""
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    write_image(make_phantom(2, PhantomOptions(first="L2", last="L3", **view)).image, path)
    return path


def test_segment_writes_labels_a_result_and_a_picture(scan: Path, tmp_path: Path, capsys):
    out = tmp_path / "spine.seg.nrrd"
    assert main(["segment", str(scan), str(out), "--report", "--quality", "fast"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "spine.seg.nrrd",
        "spine_result.json",
        "spine_report.png",
    }
    result = read_result(tmp_path / "spine_result.json")
    labels = read_volume(out).array
    assert {item.label for item in result.instances} == set(np.unique(labels)) - {0}
    printed = capsys.readouterr().out
    assert all(item.name in printed for item in result.instances)


def test_reports_are_named_after_the_output_in_the_chosen_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    output = Path("elsewhere") / "patient.1.seg.nrrd"
    wanted = ["patient.1_result.json", "patient.1_report.png"]
    assert report_paths(output, None) == (None, None)
    assert report_paths(output, Path()) == tuple(map(Path, wanted))
    Path("elsewhere").mkdir()
    assert report_paths(output, BESIDE) == tuple(Path("elsewhere") / name for name in wanted)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.b.nii.gz", ("a.b", ".nii.gz")),
        ("a.seg.nrrd", ("a", ".seg.nrrd")),
        ("A.NRRD", ("A", ".NRRD")),
        ("plain", ("plain", "")),
    ],
)
def test_a_name_is_split_before_its_format_suffix(name: str, parts: tuple[str, str]):
    assert split_name(Path(name)) == parts


@pytest.mark.slow
def test_the_demo_compares_its_labels_with_the_ground_truth(monkeypatch, tmp_path: Path, capsys):
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    small = PhantomOptions(first="L2", last="L3", **view)
    monkeypatch.setattr("spinemamba.cli.demo.OPTIONS", small)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"ct.nii.gz", "truth.nii.gz", "spine.seg.nrrd", "result.json", "report.png"}
    printed = capsys.readouterr().out
    for item in read_result(tmp_path / "demo" / "result.json").instances:
        assert f"{item.volume_ml:.1f}" in printed
    assert "report.png" in printed


def test_each_vertebra_is_compared_with_the_largest_overlap():
    found, truth = np.zeros((3, 1, 4), np.uint8), np.zeros((3, 1, 4), np.uint8)
    found[0] = 20
    truth[0, 0, :3] = 21
    truth[1] = 20
    found[2] = 22
    items = [item_of(20, "L1"), item_of(22, "L3")]
    rows = with_dice(SimpleNamespace(instances=items), found, truth)
    # 4 voxels found, 3 true, 3 common.
    assert [row[5:7] for row in rows] == [["L2", "0.857"], ["none", "-"]]


def item_of(value: int, name: str) -> InstanceResult:
    place = (0.0, 0.0, 0.0)
    return InstanceResult(1, value, name, 0.9, (), (), place, 30.0, True, (), ())


WRONG_USE = {
    "no input": (["segment", "{scan}.no", "{out}/a.nrrd"], "not found"),
    "unknown format": (["segment", "{scan}", "{out}/a.stl"], "unknown format"),
    "no folder": (["segment", "{scan}", "{scan}/a.nrrd"], "is not a folder"),
    "no report folder": (["segment", "{scan}", "{out}/a.nrrd", "--report", "{scan}"], "not a fol"),
    "there already": (["phantom", "{scan}"], "ct.nii.gz already exists"),
    "seed below zero": (["train", "fine", "--out", "{out}", "--seed", "-5"], "number from 0 to"),
    "threads below zero": (["train", "fine", "--out", "{out}", "--threads", "-2"], "to 1024"),
    "no spines": (["simulate-levels", "--count", "0"], "whole number from 1 to"),
    "endless": (["train", "fine", "--out", "{out}", "--minutes", "nan"], "not a number above 0"),
    "no steps": (["train", "fine", "--out", "{out}", "--learning-rate", "inf"], "above 0"),
    "not DICOM": (
        ["export", "{scan}", "--dicom-seg", "{out}/a.nii.gz", "--source", "{out}"],
        "a.nii.gz does not have the suffix of a DICOM",
    ),
    "no model": (["segment", "{scan}", "{out}/a.nrrd", "--model", "rabbit"], "rabbit"),
    "input again": (["segment", "{scan}", "{scan}"], "is the input; it would be"),
    "half a seed": (["demo", "--out", "{out}/d", "--seed", "0.5"], "whole number from 0 to"),
    "no voxels": (["phantom", "{out}/a.nrrd", "--spacing", "0"], "mm from 0.4 to 8"),
    "segments": (["phantom", "{out}/a.seg.nrrd"], "is the name of a segmentation"),
    "no command": (["sgement"], "invalid choice"),
    "demo without model": (["demo", "--out", "{out}/d", "--model", "rabbit"], "rabbit"),
    "no phantom": (["phantom", "{out}/a.nrrd", "--first", "L3", "--last", "L1"], "No such phantom"),
    "no time": (["train", "fine", "--out", "{out}", "--minutes", "0"], "not a number above 0"),
}


@pytest.mark.parametrize("kind", WRONG_USE)
def test_wrong_use_gives_one_line_exit_code_2_and_no_file(kind, scan, tmp_path, capsys):
    words, says = WRONG_USE[kind]
    assert main([w.format(scan=scan, out=tmp_path) for w in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


FORMER = {
    "box I L O --again L3": "resegment I L O --level L3",
    "box I L O --at=1,2,3 --name L1": "resegment I L O --point=1,2,3 --name L1",
    "stress --centres a.csv": "simulate-levels --centroids a.csv",
    "export L --stl d --also ply obj": "export L --stl d --formats ply obj",
    "export L --stl d --joint": "export L --stl d --joint-smoothing",
    "bench --case I --slide": "bench --case I --sliding-window",
}
MODULES = ("resegment", "simulate_levels", "export", "bench")


@pytest.mark.parametrize("former", FORMER)
def test_former_names_of_commands_and_options_mean_the_current_ones(former: str, monkeypatch):
    given = []
    for module in MODULES:
        monkeypatch.setattr(command_module(module), "run", lambda args: given.append(args) or 0)
    assert main(former.split()) == main(FORMER[former].split()) == 0
    assert given[0] == given[1]


@pytest.mark.parametrize("command", sorted({text.split()[0] for text in FORMER.values()}))
def test_the_help_does_not_list_former_names(command: str, capsys):
    assert main(["--help"]) == main([command, "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    for former, current in FORMER.items():
        for word in set(former.split()) - set(current.split()):
            assert word.partition("=")[0] not in words


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_keeps_the_capitals_of_acronyms(command: str, capsys):
    assert main([command, "--help"]) == 0
    words = capsys.readouterr().out.replace(",", "").replace(".\n", "\n").split()
    assert not {"ct", "mr", "dicom", "json", "csv", "stl", "seg", "lps", "cpu"} & (
        set(words) - {command}
    )


def test_a_folder_that_cannot_be_written_is_refused(scan: Path, capsys):
    assert main(["segment", str(scan), "/proc/a.nrrd"]) == 2
    assert "Cannot write" in capsys.readouterr().err


def test_an_unexpected_error_gives_a_message_and_a_log(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("spinemamba.cli.probe.run", lambda args: 1 / 0)
    assert main(["probe"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (log,) = tmp_path.glob("spinemamba-*.log")
    assert "ZeroDivisionError" in log.read_text()
    assert str(log) in error


def test_a_log_has_tracebacks_of_all_causes_but_no_values(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def read_tag(args: object) -> int:
        try:
            return int("DOE^JANE")
        except ValueError as error:
            error.add_note("DOE^JANE") if hasattr(error, "add_note") else None
            raise KeyError("DOE^JANE") from error

    monkeypatch.setattr("spinemamba.cli.probe.run", read_tag)
    assert main(["probe"]) == 1
    (log,) = tmp_path.glob("spinemamba-*.log")
    text = log.read_text()
    assert text.count(", in read_tag\n") == 2
    assert text.index("\nValueError\n") < text.index("\nKeyError\n")
    # Lines of this test are in the log as source; a message would follow the exception type.
    assert "KeyError: " not in text
    assert "ValueError: " not in text


def test_an_unexpected_error_gives_a_message_without_a_log_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "away"))
    monkeypatch.setattr("spinemamba.cli.probe.run", lambda args: 1 / 0)
    assert main(["probe"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Something went wrong inside SpineMamba. Report it with the command; no log could be "
        "written."
    ]


PACKAGE = Path(atomic_files.__file__).parents[1]
ERRORS = {
    "no permission": (PermissionError(13, "Permission denied", "/x/ct.nii"), 2, "/x/ct.nii cannot"),
    "bytes": (PermissionError(13, "Permission denied", b"/x/ct.nii"), 2, "/x/ct.nii cannot be"),
    "bad disk": (OSError(5, "Input/output error", "ct.nii"), 2, "ct.nii cannot be used: Input"),
    "long name": (OSError(36, "File name too long", "ct"), 2, "Give a shorter name."),
    "a folder": (IsADirectoryError(21, "Is a directory", "ct"), 2, "Is a directory. Check the"),
    "full": (OSError(28, "No space left on device"), 2, "The disk is full."),
    "no temporary folder": (
        FileNotFoundError(2, "No usable temporary directory found"),
        2,
        "TMPDIR",
    ),
    "memory": (MemoryError(), 2, "too little free memory"),
    "memory of ITK": (RuntimeError("Failed to allocate memory for image."), 2, "too little free"),
    "memory of the system": (OSError(12, "Cannot allocate memory"), 2, "too little free memory"),
    "our own file": (FileNotFoundError(2, "No such file", str(PACKAGE / "a.css")), 1, "Report it"),
    "no file": (OSError(9, "Bad file descriptor"), 1, "Report it"),
    "a bug": (RuntimeError("mat1 and mat2"), 1, "Report it"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_operating_system_errors_are_user_errors(monkeypatch, capsys, tmp_path, kind):
    error, code, says = ERRORS[kind]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fails(args: object) -> int:
        raise error

    monkeypatch.setattr("spinemamba.cli.probe.run", fails)
    assert main(["probe"]) == code
    message = capsys.readouterr().err
    assert says in message
    assert len(message.splitlines()) == 1
    assert (list(tmp_path.iterdir()) == []) == (code == 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_give_exit_code_3(monkeypatch, capsys, number):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    # A shell starts background processes with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(args: object) -> int:
        signal.raise_signal(number)
        return 0

    monkeypatch.setattr("spinemamba.cli.probe.run", stop)
    try:
        assert main(["probe"]) == 3
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)
    assert "Cancelled" in capsys.readouterr().err


def test_probing_prints_json_with_devices_and_scan_back_ends(capsys):
    assert main(["probe"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["devices"][0]["device"] == "cpu"
    assert facts["devices"][0]["scan_backends"]["torch-chunked"] == "ok"


def test_a_phantom_and_its_labels_can_be_compared_with_themselves(tmp_path: Path, capsys):
    out = str(tmp_path / "p.nrrd")
    assert main(["phantom", out, "--first", "L1", "--last", "L2", "--spacing", "4"]) == 0
    labels = str(tmp_path / "p_labels.nrrd")
    assert main(["evaluate", labels, labels]) == 0
    assert "Dice 1.000" in capsys.readouterr().out


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert COMMANDS[name].split()[0] in capsys.readouterr().out.lower()


def test_progress_is_a_few_lines_without_a_terminal(capsys):
    with ProgressBar() as bar:
        for step in range(101):
            bar("locate", step / 100)
        bar("segment", 0.0)
        bar.warn("Look.")
    assert capsys.readouterr().err.splitlines() == [
        "  5%  locating the spine",
        " 15%  locating the spine",
        " 25%  locating the spine",
        " 25%  segmenting",
        "Warning: Look.",
    ]


def test_progress_on_a_terminal_shows_the_stage_and_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with ProgressBar() as bar:
        bar("segment", 0.0)
        bar("segment", 1.0)
    shown = capsys.readouterr().err.split("\r")[-1]
    assert shown.startswith("segmenting")
    assert "80%" in shown
    assert "<" in shown


def test_streams_that_fail_or_are_missing_do_not_stop_the_work(monkeypatch):
    class Full(io.StringIO):
        encoding = "cp1252"

        def write(self, text: str) -> int:
            text.encode(self.encoding)
            return super().write(text)

        def flush(self) -> None:
            if self.getvalue().endswith("last\n"):
                raise OSError(28, "No space left on device")

    full = Full()
    monkeypatch.setattr("sys.stdout", full)
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdin", None)
    with safe_streams() as out:
        print_line("\u0141\u00f3d\u017a")
        assert out.failure is None
        print_line("last")
        print_line("dropped")
        with ProgressBar() as bar:
            bar("segment", 0.0)
            bar.warn("this is not read")
        assert not sys.stdin.isatty()
        assert out.failure.errno == 28
    assert full.getvalue() == "\\u0141\u00f3d\\u017a\nlast\n"
    assert (sys.stdin, sys.stdout, sys.stderr) == (None, full, None)


def test_a_closed_stream_is_not_a_terminal():
    closed = io.StringIO()
    closed.close()
    stream = Stream(closed)
    stream.write("dropped")
    assert isinstance(stream.failure, ValueError)
    assert not stream.isatty()


def test_a_demo_replaces_files_only_in_its_default_folder(monkeypatch, tmp_path, capsys):
    def made(*_: object) -> None:
        raise Cancelled  # the names have been checked

    monkeypatch.setattr("spinemamba.cli.demo.make_phantom", made)
    monkeypatch.chdir(tmp_path)
    for folder in ("spinemamba-demo", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "report.png").touch()
    assert main(["demo"]) == 3
    assert main(["demo", "--out", "mine"]) == 2
    assert "report.png already exists" in capsys.readouterr().err
    assert main(["demo", "--out", "mine", "--overwrite"]) == 3


def test_numbers_in_a_table_are_aligned_right():
    assert table(("level", "mL"), [["L1", "9.5"], ["Sacrum", "120.0"]]).splitlines() == [
        "level      mL",
        "------  -----",
        "L1        9.5",
        "Sacrum  120.0",
    ]
