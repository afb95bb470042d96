"""``spinemamba segment --server`` writes the files of a local run, with the same exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_phantom import write_phantom
from fake_method import write_scan
from server_process import RunningServer, local_server
from synthetic_labels import Part, masks, result_of, spine, write_parts

from spinemamba.cli.main import main
from spinemamba.imaging.read import read_volume, tags_of
from spinemamba.imaging.write import write_image
from spinemamba.jobs.on_server import run_on_server
from spinemamba.labelmaps.other_scan import copy_other_scan, read_other_scan
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.result import read_result

NAME = "Doe John"


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
    assert server.files() == set()


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
        (["--levels-from", "other.nrrd"], "Input not found: other.nrrd"),
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
        server.wait_until_idle()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.nrrd", "server"]


def other_scan(folder: Path) -> Path:
    """Write a run whose names of files and segments are those of a patient."""
    names = ("T12", "L1", "L2")
    volume = spine(*names)
    pairs = enumerate(zip(names, masks(volume, names), strict=True), start=1)
    parts = [Part(name, mask, value) for value, (name, mask) in pairs]
    folder.mkdir()
    labels = write_parts(folder / f"{NAME}.seg.nrrd", volume, parts)
    doubt = {"level_doubt": "likely", "frame_of_reference": "f" * 64}
    texts = {"warnings": (NAME,), "run_id": NAME, "model_name": NAME}
    replace(result_of(volume, names), **doubt, **texts).write(folder / f"{NAME}_result.json")
    return labels


def test_a_copy_of_another_scan_has_its_levels_and_no_name(tmp_path):
    labels, copy = other_scan(tmp_path / "other"), tmp_path / "copy.seg.nrrd"
    copy_other_scan(labels, copy)
    before, after = read_other_scan(labels), read_other_scan(copy)
    assert (after.in_doubt, after.frame) == (before.in_doubt, before.frame) == (True, "f" * 64)
    for one, other in zip(before.outlines, after.outlines, strict=True):
        for name in ("number", "level", "certainty", "is_whole"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.points_lps_mm, other.points_lps_mm)
    header = copy.read_bytes().partition(b"\n\n")[0]
    for content in (header, (tmp_path / "copy_result.json").read_bytes()):
        assert NAME.encode() not in content


def test_the_levels_of_another_scan_are_sent_but_not_its_name(server, tmp_path):
    image, out = write_scan(tmp_path / "image.nrrd"), tmp_path / "spine.nrrd"
    labels = other_scan(tmp_path / "other")
    job = SegmentJob(image, out, tmp_path / "spine_result.json", levels_from=labels)
    warned, site = [], Site(server.url)
    with received_by(server) as received:
        run_on_server(job, site, lambda *_: None, warned.append)
    found = read_result(tmp_path / "spine_result.json")
    expected = read_other_scan(labels)
    assert found.levels_from.source == labels.name
    assert found.levels_from.levels == tuple((o.number, o.level) for o in expected.outlines)
    assert found.levels_from.score_mm == sum(o.certainty for o in expected.outlines)
    assert not found.levels_from.fixed
    assert found.warnings == (f"From {labels.name}.",)
    assert warned == [f"The levels of {labels.name}, used as evidence, are in doubt themselves."]
    assert set(received) == {"image.nrrd", "other_scan.seg.nrrd", "other_scan_result.json"}
    assert NAME.encode() not in b"".join(received.values())


@contextmanager
def received_by(server: RunningServer) -> Iterator[dict[str, bytes]]:
    """Yield the files that a server receives, by name; they are erased at the end of a job."""
    received: dict[str, bytes] = {}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            for path in server.state.glob("jobs/*/sent/*"):
                with suppress(OSError):
                    received[path.name] = path.read_bytes()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield received
    finally:
        is_over.set()
        thread.join()


def test_a_converted_series_keeps_what_is_not_a_voxel(tmp_path):
    write_phantom(tmp_path / "series")
    read = read_volume(tmp_path / "series")
    assert (read.modality, len(read.frame)) == ("ct", 64)
    for volume in (read, replace(read, modality="mr", sequence="T2-weighted", frame=None)):
        write_image(volume, tmp_path / "image.nrrd", tags_of(volume))
        back = read_volume(tmp_path / "image.nrrd")
        for name in ("shape", "spacing_mm", "origin_lps_mm", "direction_lps"):
            assert np.array_equal(*(getattr(v.geometry, name) for v in (back, volume)))
        assert np.array_equal(back.array, volume.array)
        for name in ("modality", "sequence", "frame"):
            assert getattr(back, name) == getattr(volume, name)
    uid = pydicom.dcmread(next((tmp_path / "series").iterdir())).FrameOfReferenceUID
    assert uid.encode() not in (tmp_path / "image.nrrd").read_bytes()


@pytest.mark.parametrize("name", ["four.nii.gz", "four.nrrd", "four.mha", "frames.seq.nrrd"])
def test_a_sequence_is_refused_before_it_is_sent_as_without_a_server(name, tmp_path, capsys):
    write_sequence(tmp_path / name)
    command = ["segment", str(tmp_path / name), str(tmp_path / "out.nrrd")]
    assert main(command) == 2
    here = capsys.readouterr().err.splitlines()[-1]
    assert "export one frame of a sequence" in here
    # No server answers: what was sent would fail with another message.
    assert main([*command, "--server", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == here
    assert [p.name for p in tmp_path.iterdir()] == [name]


def write_sequence(path: Path) -> None:
    """Write three frames: with a fourth axis, or as Slicer's sequences."""
    frames = np.random.default_rng(0).integers(0, 999, (3, 16, 16, 16)).astype(np.int16)
    if not path.name.endswith(".seq.nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(frames, isVector=False), str(path))
        return
    header = (
        "NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\n"
        "sizes: 3 16 16 16\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n"
        "kinds: list domain domain domain\nencoding: raw\nendian: little\n"
        "space origin: (0,0,0)\n\n"
    )
    path.write_bytes(header.encode() + np.moveaxis(frames, 0, -1).tobytes())


def test_dicom_with_several_time_points_is_refused_before_it_is_sent(tmp_path, capsys):
    folder = tmp_path / "series"
    write_phantom(folder)
    for path in sorted(folder.iterdir()):  # the same positions at a second time
        image = pydicom.dcmread(path)
        image.SOPInstanceUID = pydicom.uid.generate_uid()
        image.TemporalPositionIdentifier = 2
        image.save_as(folder / f"second-{path.name}")
    command = ["segment", str(folder), str(tmp_path / "out.nrrd")]
    assert main(command) == 2
    here = capsys.readouterr().err.splitlines()[-1]
    assert main([*command, "--server", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == here
    assert "time" in here


def test_voxels_in_another_file_are_sent_with_their_header(server, tmp_path):
    image = sitk.ReadImage(str(write_scan(tmp_path / "whole.nrrd")))
    sitk.WriteImage(image, str(tmp_path / "image.nhdr"))
    (tmp_path / "image.nhdr").rename(tmp_path / "image.nrrd")
    out = tmp_path / "spine.nrrd"
    command = ["segment", str(tmp_path / "image.nrrd"), str(out), "--server", server.url]
    assert main(command) == 0
    assert sitk.ReadImage(str(out)).GetSize() == image.GetSize()


@pytest.mark.slow  # networks
def test_levels_of_another_scan_give_the_same_result_over_a_server(tmp_path):
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    made = make_phantom(2, PhantomOptions(first="L2", last="L4", **view))
    write_image(made.image, tmp_path / "scan.nii.gz")
    before = tmp_path / "before" / "other.seg.nrrd"
    common = ["--precision", "float32", "--quality", "fast", "--report"]
    assert main(["segment", str(tmp_path / "scan.nii.gz"), str(before), *common]) == 0
    pins = ["--pin", "L2#1"]
    result = before.with_name("other_result.json")
    named = before.with_name("named.seg.nrrd")
    assert main(["relabel", str(result), str(before), str(named), *pins]) == 0
    common += ["--levels-from", str(named)]
    local, remote = (tmp_path / where / "x.seg.nrrd" for where in ("local", "remote"))
    assert main(["segment", str(tmp_path / "scan.nii.gz"), str(local), *common]) == 0
    with local_server(tmp_path / "server", real=True) as server:
        options = [*common, "--server", server.url]
        assert main(["segment", str(tmp_path / "scan.nii.gz"), str(remote), *options]) == 0
    assert_same(local, remote)
    assert stable(local)["levels_from"]["source"] == "named.seg.nrrd"
    assert local.with_name("x_report.png").read_bytes() == (
        remote.with_name("x_report.png").read_bytes()
    )


@pytest.mark.slow
def test_labels_of_a_server_are_those_of_a_local_run_bit_for_bit(shared_data, tmp_path):
    image = shared_data / "tptbox" / "ct.nii.gz"
    common = ["--precision", "float32", "--report"]
    local, remote = tmp_path / "local" / "x.seg.nrrd", tmp_path / "remote" / "x.seg.nrrd"
    assert main(["segment", str(image), str(local), *common]) == 0
    with local_server(tmp_path / "server", real=True) as server:
        assert main(["segment", str(image), str(remote), *common, "--server", server.url]) == 0
    assert_same(local, remote)


def assert_same(local: Path, remote: Path) -> None:
    """Compare the files of two runs."""
    names = sorted(p.name for p in local.parent.iterdir())
    assert sorted(p.name for p in remote.parent.iterdir()) == names
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (local, remote)]
    assert (arrays[0] == arrays[1]).all()
    assert stable(local) == stable(remote)


def stable(labels: Path) -> dict[str, object]:
    """The result without what differs between two runs."""
    result = json.loads((labels.parent / "x_result.json").read_text())
    return {k: v for k, v in result.items() if k not in ("run_id", "seconds", "device")}
