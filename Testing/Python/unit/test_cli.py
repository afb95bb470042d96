from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spinemamba.cli.console import ProgressBar, table
from spinemamba.cli.main import COMMANDS, main
from spinemamba.image_io import read_volume, write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.result import read_result


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CT of two vertebrae."""
    options = PhantomOptions(first="L2", last="L3", spacing_mm=(3.0, 3.0, 3.0), tight=True)
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    write_image(make_phantom(2, options).image, path)
    return path


def test_a_volume_becomes_segments_a_result_and_a_picture(scan: Path, tmp_path: Path, capsys):
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


WRONG_USE = {
    "no input": (["segment", "{scan}.no", "{out}/a.nrrd"], "not found"),
    "unknown format": (["segment", "{scan}", "{out}/a.stl"], "unknown format"),
    "no folder": (["segment", "{scan}", "{out}/no/a.nrrd"], "does not exist"),
    "no report folder": (
        ["segment", "{scan}", "{out}/a.nrrd", "--report", "{out}/no"],
        "not exist",
    ),
    "no model": (["segment", "{scan}", "{out}/a.nrrd", "--model", "rabbit"], "rabbit"),
    "no phantom": (["phantom", "{out}/a.nrrd", "--first", "L3", "--last", "L1"], "No such phantom"),
    "no time": (["train", "fine", "--out", "{out}", "--minutes", "0"], "Nothing to do"),
}


@pytest.mark.parametrize("kind", WRONG_USE)
def test_wrong_use_gives_one_line_exit_code_2_and_no_file(kind, scan, tmp_path, capsys):
    words, says = WRONG_USE[kind]
    assert main([w.format(scan=scan, out=tmp_path) for w in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in error
    assert error.endswith(".")
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(scan: Path, capsys):
    assert main(["segment", str(scan), "/proc/a.nrrd"]) == 2
    assert "Cannot write" in capsys.readouterr().err


def test_our_own_bug_gives_a_sentence_and_a_log(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("spinemamba.cli.probe.run", lambda args: 1 / 0)
    assert main(["probe"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (log,) = tmp_path.glob("spinemamba-*.log")
    assert "ZeroDivisionError" in log.read_text()
    assert str(log) in error


def test_stopping_by_hand_gives_exit_code_3(monkeypatch, capsys):
    def stop(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("spinemamba.cli.probe.run", stop)
    assert main(["probe"]) == 3
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


def test_every_command_explains_itself(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert COMMANDS[name].split()[0] in capsys.readouterr().out.lower()


def test_progress_is_one_line_per_stage_where_nobody_watches(capsys):
    with ProgressBar() as bar:
        for fraction in (0.0, 0.5, 1.0):
            bar("locate", fraction)
        bar("segment", 0.1)
    assert capsys.readouterr().err.splitlines() == ["locating the spine", "segmenting"]


def test_numbers_in_a_table_are_aligned_right():
    assert table(("level", "mL"), [["L1", "9.5"], ["Sacrum", "120.0"]]).splitlines() == [
        "level      mL",
        "------  -----",
        "L1        9.5",
        "Sacrum  120.0",
    ]
