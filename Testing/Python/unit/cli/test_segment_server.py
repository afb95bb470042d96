"""``spinemamba segment --server`` writes the files of a local run, with the same exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk
from dicom_phantom import write_phantom
from fake_method import write_scan
from local_server import local_server

from spinemamba.cli.main import main


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    slow = {"PAUSE_S": "0.02"}
    with local_server(tmp_path_factory.mktemp("server"), environment=slow) as made:
        yield made


def test_a_run_on_a_server_prints_and_writes_what_a_local_one_does(server, tmp_path, capsys):
    image, out = write_scan(tmp_path / "image.nrrd"), tmp_path / "out" / "spine.nrrd"
    command = ["segment", str(image), str(out), "--report", "--server", server.url]
    assert main([*command[:3], *command[4:]]) == 0
    printed = capsys.readouterr()
    assert "T12" in printed.out
    assert f"Wrote {out}" in printed.out
    assert "Ward (127.0.0.1:" in printed.err
    assert [p.name for p in out.parent.iterdir()] == ["spine.nrrd"]
    assert main([*command[:3], *command[4:]]) == 2
    assert "already exists" in capsys.readouterr().err
    assert server.job_files() == []


def test_a_dicom_folder_is_converted_and_keeps_its_grid(server, tmp_path):
    write_phantom(tmp_path / "series")
    out = tmp_path / "spine.nrrd"
    assert main(["segment", str(tmp_path / "series"), str(out), "--server", server.url]) == 0
    labels = sitk.ReadImage(str(out))
    assert labels.GetSpacing() == (0.75, 1.5, 2.0)
    assert labels.GetOrigin() == (5.0, -6.0, 7.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["series", "spine.nrrd"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--device", "cpu"], "chooses the device"),
        (["--levels-from", "other.nrrd"], "levels from another scan"),
        (["--model", "other"], "does not offer the chosen model"),
    ],
)
def test_what_a_server_cannot_do_is_refused_with_a_reason(server, tmp_path, options, text, capsys):
    image = write_scan(tmp_path / "image.nrrd")
    command = ["segment", str(image), str(tmp_path / "out.nrrd"), "--server", server.url]
    assert main([*command, *options]) == 2
    assert text in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["image.nrrd"]


def test_a_token_without_a_server_is_refused(tmp_path, capsys):
    command = ["segment", "in.nrrd", "out.nrrd", "--server-token-file", str(tmp_path / "t")]
    assert main(command) == 2
    assert "Add --server" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
def test_ctrl_c_ends_the_job_on_the_server_too(tmp_path):
    image = write_scan(tmp_path / "image.nrrd")
    stop = {"STOP_AT": "segment", "HOW": "wait"}
    package = str(Path(sys.modules["spinemamba"].__file__).parents[1])
    with local_server(tmp_path / "server", environment=stop) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "spinemamba", "segment", str(image), str(tmp_path / "out.nrrd"),
             "--server", server.url],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": package},
        )  # fmt: skip
        end_s = time.monotonic() + 60
        while server.count() != (0, 1):
            assert time.monotonic() < end_s
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 3
        assert "Cancelled" in process.stderr.read()
        process.stderr.close()
        end_s = time.monotonic() + 10
        while server.count() != (0, 0) or server.job_files():
            assert time.monotonic() < end_s
            time.sleep(0.1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.nrrd", "server"]


@pytest.mark.slow
def test_labels_of_a_server_are_those_of_a_local_run_bit_for_bit(shared_data, tmp_path):
    image = next((shared_data / "tptbox").glob("*ct*.nii.gz"))
    common = ["--precision", "float32", "--report"]
    local, remote = tmp_path / "local" / "x.seg.nrrd", tmp_path / "remote" / "x.seg.nrrd"
    assert main(["segment", str(image), str(local), *common]) == 0
    with local_server(tmp_path / "server", real=True) as server:
        assert main(["segment", str(image), str(remote), *common, "--server", server.url]) == 0
    names = sorted(p.name for p in local.parent.iterdir())
    assert sorted(p.name for p in remote.parent.iterdir()) == names
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (local, remote)]
    assert (arrays[0] == arrays[1]).all()
    assert stable(local) == stable(remote)


def stable(labels: Path) -> dict[str, object]:
    """The result without what differs between two runs."""
    result = json.loads((labels.parent / "x_result.json").read_text())
    return {k: v for k, v in result.items() if k not in ("run_id", "seconds", "device")}
