"""Series from Orthanc are segmented, and their DICOM SEG is stored back; with a threshold."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import NAME, SERIES, STUDY, write_phantom
from fake_method import attempts, environment
from orthanc_server import PASSWORD, USER, orthanc, upload

from spinemamba.cli.main import main
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.pacs.dicomweb import DicomWeb
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.retries import Retries
from spinemamba.protocol.remote.site import Site

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def method(tmp_path, monkeypatch) -> dict[str, str]:
    """The environment in which a worker segments by a threshold."""
    env = environment(tmp_path / "method")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def test_a_segmentation_goes_to_orthanc_once_and_comes_back_equal(tmp_path, method, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    voxels = write_phantom(images)
    with orthanc(tmp_path / "orthanc") as address:
        upload(address, images)
        root = f"{address}/dicom-web"
        command = ["watch-dicomweb", root, "--study", STUDY, "--output", str(out)]
        assert main(command) == 0
        archive = DicomWeb(Connection(Site(root)), Retries())
        assert [s.modality for s in archive.series(STUDY)] == ["CT"]  # nothing stored unasked
        assert main([*command, "--store"]) == 0
        stored = [s for s in archive.series(STUDY) if s.modality == "SEG"]
        assert len(stored) == 1
        (uid,) = archive.instances(stored[0])
        file = archive.instance(stored[0], uid)
        # Again, and from another computer that has no files: nothing is computed or stored.
        assert main([*command, "--store"]) == 0
        assert main(["watch-dicomweb", root, "--study", STUDY, "--store"]) == 0
        assert len(archive.series(STUDY)) == 2
    assert sum(attempts(method).values()) == 1
    back = pydicom.dcmread(io.BytesIO(file))
    assert (back.StudyInstanceUID, str(back.PatientName)) == (STUDY, NAME)
    assert {str(r.SeriesInstanceUID) for r in back.ReferencedSeriesSequence} == {SERIES}
    path = tmp_path / "back.dcm"
    path.write_bytes(file)
    (folder,) = [p for p in out.iterdir() if p.is_dir()]
    written = read_vertebra_labels(next(folder.glob("*.seg.nrrd"))).volume
    again = read_vertebra_labels(path).volume
    assert np.count_nonzero(written.array) == voxels
    assert place_of(again) == place_of(written)
    printed = capsys.readouterr()
    for text in (printed.out, printed.err, *map(str, out.rglob("*"))):
        assert "hantom" not in text.replace(str(tmp_path), "")
        assert STUDY not in text


def place_of(volume) -> set[tuple[float, ...]]:
    """Positions in mm and values of all labelled voxels."""
    index = np.argwhere(volume.array)
    places = volume.geometry.to_lps_mm(index.astype(float)).round(3)
    values = volume.array[tuple(index.T)]
    return {(*place, value) for place, value in zip(places.tolist(), values.tolist(), strict=True)}


def test_a_watch_finds_the_studies_of_today(tmp_path, method, capsys):
    from datetime import date

    images, flat = tmp_path / "images", tmp_path / "flat"
    write_phantom(images, StudyDate=f"{date.today():%Y%m%d}")
    write_phantom(flat, f"{SERIES}.5", bone=False, StudyDate=f"{date.today():%Y%m%d}")
    with orthanc(tmp_path / "orthanc", password=True) as address:
        secret = tmp_path / "password"
        secret.write_text(f"{USER}:{PASSWORD}\n")
        secret.chmod(0o600)
        root = f"{address}/dicom-web"
        from spinemamba.protocol.remote.credentials import basic

        site = Site(root, basic(secret, lambda text: None))
        archive = DicomWeb(Connection(site), Retries())
        for path in [*images.iterdir(), *flat.iterdir()]:
            archive.store(STUDY, path.read_bytes())
        command = ["watch-dicomweb", root, "--once", "--store"]
        assert main([*command, "--attempts", "1"]) == 2
        assert "401" in capsys.readouterr().err
        assert main([*command, "--password-file", str(secret)]) == 0
        kinds = [s.modality for s in archive.series(STUDY)]
    assert sorted(kinds) == ["CT", "CT", "SEG"]
    shown = capsys.readouterr().out
    assert "no spine" in shown
    assert "stored" in shown
    assert not list(Path.cwd().glob("worker.log"))
