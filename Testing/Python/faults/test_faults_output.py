"""Outputs under unusual names, file modes, streams, disks and signals.

Either the files are those of an ordinary run, or the run is refused with one message and exit
code 2; no partial file is left.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spinemamba.cli.arguments import split_name
from spinemamba.cli.main import main
from spinemamba.common import atomic_files
from spinemamba.common.scratch import SCRATCH
from spinemamba.imaging.read import read_volume

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="plants faults with POSIX means"),
]

RIGHT, REFUSED, ELSE = "right", "refused", "anything else"
SMALL = ["--first", "L2", "--last", "L2", "--spacing", "8"]
PACKAGE = str(Path(atomic_files.__file__).parents[2])
SPINE = "\u810a"
PARTS = ("", "_labels")

Record = Callable[[str, str], None]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of the phantom and of its labels, as an ordinary run writes them."""
    folder = tmp_path_factory.mktemp("ordinary")
    assert main(["phantom", str(folder / "a.nrrd"), *SMALL]) == 0
    image, labels = (read_volume(folder / name).array for name in ("a.nrrd", "a_labels.nrrd"))
    return image, labels


@pytest.fixture
def judge(
    tmp_path: Path, ordinary: tuple[np.ndarray, np.ndarray], outcome: Record
) -> Callable[..., str]:
    """Record and return the outcome for a phantom.

    It is right if image and labels have the same voxels as those of an ordinary run and nothing
    else exists; refused if nothing exists, the exit code is 2 and one sentence was printed.
    """

    def of(kind: str, image: Path, code: int, error: str | None = None) -> str:
        stem, ending = split_name(image)
        labels = image.with_name(f"{stem}_labels{ending}")
        found = {path for path in tmp_path.rglob("*") if not path.is_dir()}
        result = ELSE
        if code == 0 and found == {image, labels}:
            same = zip((image, labels), ordinary, strict=True)
            if all(np.array_equal(read_volume(path).array, voxels) for path, voxels in same):
                result = RIGHT
        elif code == 2 and not found and (error is None or len(error.splitlines()) == 1):
            result = REFUSED
        outcome(kind, result)
        return result

    return of


@pytest.fixture
def spinemamba(tmp_path: Path) -> Run:
    """Run a command in a separate process, with redirections of a shell if given."""

    def run(
        *words: str, shell: str = '"$@"', before: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [*before, sys.executable, "-m", "spinemamba", *words]
        return subprocess.run(
            ["bash", "-c", shell, "bash", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": PACKAGE, "OMP_NUM_THREADS": "1", **env},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X.NII.GZ", RIGHT),
        ("X.NRRD", RIGHT),
        ("a.img.nii.gz", RIGHT),
        ("a.hdr.mha", RIGHT),
        ("new/folder/a.mha", RIGHT),
        (f"{SPINE * 80}.nii.gz", RIGHT),
        ("\u0141\u00f3d\u017a \n\t'.nrrd", RIGHT),
        ("X.MHA", REFUSED),
        ("X.Nii.Gz", REFUSED),
        ("X.SEG.NRRD", REFUSED),
        (f"{SPINE * 83}.nii.gz", REFUSED),
        (f"{'x' * 300}.nrrd", REFUSED),
        (f"{'x' * 300}/a.nrrd", REFUSED),
        (os.fsdecode(b"\xff.nrrd"), REFUSED),
        ("a", REFUSED),
    ],
)
def test_an_output_name_works_or_is_refused(tmp_path, capsys, judge, name, expected):
    code = main(["phantom", str(tmp_path / name), *SMALL])
    assert judge("name of an output", tmp_path / name, code, capsys.readouterr().err) == expected


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_file_modes_follow_the_umask(tmp_path: Path, outcome: Record, umask: int):
    before = os.umask(umask)
    try:
        assert main(["phantom", str(tmp_path / "new" / "a.nrrd"), *SMALL]) == 0
        labels = str(tmp_path / "new" / "a_labels.nrrd")
        assert main(["evaluate", labels, labels, "--no-distances", "--out", str(tmp_path)]) == 0
        words = ["--coarse", "starter", "--fine", "starter", "--name", "x"]
        assert main(["pack", str(tmp_path / "model"), *words]) == 0
    finally:
        os.umask(before)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in found}
    outcome("umask", RIGHT if modes == {0o666 & ~umask} else ELSE)
    assert modes == {0o666 & ~umask}
    assert len(found) == 2 + 4 + 3


@pytest.mark.parametrize(
    "shell",
    [
        '"$@" | true; exit ${PIPESTATUS[0]}',
        '"$@" >&-',
        '"$@" 2>&-',
        '"$@" <&-',
        '"$@" <&- >&- 2>&-',
        '"$@" >/dev/full',
        '"$@" >/dev/full 2>/dev/full',
    ],
)
def test_closed_and_full_streams_do_not_stop_the_work(tmp_path, judge, spinemamba, shell):
    done = spinemamba("phantom", "a.nrrd", *SMALL, shell=shell)
    assert done.stderr == ""
    assert judge("standard stream", tmp_path / "a.nrrd", done.returncode) == RIGHT


@pytest.mark.parametrize(
    ("shell", "code", "error"),
    [
        ('"$@" | true; exit ${PIPESTATUS[0]}', 0, ""),
        ('"$@" >&-', 0, ""),
        ('"$@" >/dev/full', 2, "The result cannot be printed: No space left on device."),
    ],
)
def test_a_result_that_cannot_be_printed_is_an_error(spinemamba, outcome, shell, code, error):
    done = spinemamba("probe", shell=shell)
    right = done.returncode == code and done.stderr.startswith(error)
    outcome("standard stream", (REFUSED if code else RIGHT) if right else ELSE)
    assert (done.returncode, done.stderr[: len(error)]) == (code, error)
    assert len(done.stderr.splitlines()) == (1 if error else 0)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_terminal_with_another_encoding_does_not_stop_the_work(tmp_path, judge, spinemamba, env):
    name = "\u0141\u00f3d\u017a \u5c71.nrrd"
    done = spinemamba("phantom", name, *SMALL, **env)
    assert done.stderr == ""
    assert judge("encoding", tmp_path / name, done.returncode) == RIGHT


@pytest.fixture
def as_a_user() -> tuple[str, ...]:
    """Words before a command that drop the rights of root."""
    if os.getuid() != 0:
        return ()
    words = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("root cannot give up its rights here")
    return words


@pytest.mark.parametrize("name", ["a.nrrd", "new/a.nrrd"])
def test_a_read_only_folder_is_refused(tmp_path, judge, spinemamba, as_a_user, name):
    (tmp_path / "mine").mkdir(mode=0o555)
    done = spinemamba("phantom", f"mine/{name}", *SMALL, before=as_a_user)
    assert "Cannot write a.nrrd: Permission denied. Choose a folder" in done.stderr
    path = tmp_path / "mine" / name
    assert judge("read-only folder", path, done.returncode, done.stderr) == REFUSED


@pytest.mark.parametrize(
    "words",
    [
        ("export", "theirs/a.nrrd", "--stl", "out"),
        ("evaluate", "theirs/a.nrrd", "theirs/a.nrrd"),
        ("train", "fine", "--out", "out", "--data", "theirs"),
        ("pack", "out", "--coarse", "theirs", "--fine", "theirs", "--name", "x"),
    ],
    ids=lambda words: words[0],
)
def test_an_unreadable_folder_is_a_user_error(tmp_path, spinemamba, as_a_user, outcome, words):
    (tmp_path / "theirs").mkdir(mode=0o000)
    done = spinemamba(*words, before=as_a_user)
    (tmp_path / "theirs").chmod(0o755)
    # Training lists the files that it cannot use, one per line.
    right = done.returncode == 2 and "Traceback" not in done.stderr
    outcome("unreadable folder", REFUSED if right else ELSE)
    assert done.returncode == 2
    assert "Permission denied" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a few kilobytes."""
    place = tmp_path / "full"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_reported_as_a_full_disk(full, capsys, judge):
    code = main(["phantom", str(full / "a.nrrd"), *SMALL])
    error = capsys.readouterr().err
    assert error == "Cannot write a.nrrd: No space left on device. Free some disk space.\n"
    assert judge("full disk", full / "a.nrrd", code, error) == REFUSED


@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "new/a.mha"])
def test_a_file_size_limit_is_reported_as_a_file_size_limit(tmp_path, judge, spinemamba, name):
    done = spinemamba("phantom", name, *SMALL, shell='ulimit -f 8; "$@"')
    assert f"Cannot write {Path(name).name}: File too large. Raise the limit" in done.stderr
    # MetaIO prints its own line first.
    message = done.stderr.splitlines()[-1]
    assert judge("full disk", tmp_path / name, done.returncode, message) == REFUSED
    assert list(tmp_path.iterdir()) == []


def test_a_missing_temporary_folder_does_not_stop_the_work(tmp_path, judge, spinemamba):
    done = spinemamba("phantom", "a.nrrd", *SMALL, TMPDIR=str(tmp_path / "away"))
    assert judge("lost TMPDIR", tmp_path / "a.nrrd", done.returncode) == RIGHT


STOPPED = """
import os, sys
import SimpleITK as sitk
from pathlib import Path
from spinemamba.cli.main import main

write, calls = sitk.WriteImage, []

def stop(image, name, **options):
    calls.append(name)
    if len(calls) == 1:
        return write(image, name, **options)
    Path(name).write_bytes(b"half")
    os.kill(os.getpid(), int(sys.argv[1]))

sitk.WriteImage = stop
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("there", [False, True], ids=["new", "over old files"])
def test_a_run_that_ends_while_writing_keeps_earlier_files(tmp_path, outcome, number, there):
    old = {f"a{part}.nrrd": f"old{part}" for part in ("", "_labels")} if there else {}
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    words = ["phantom", str(tmp_path / "a.nrrd"), *SMALL, "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), *words],
        env={**os.environ, "PYTHONPATH": PACKAGE},
        capture_output=True,
        text=True,
        check=False,
    )
    if number == signal.SIGKILL:
        assert done.returncode == -9
        # The next run in the folder removes the partial files.
        assert main(["phantom", str(tmp_path / "b.nrrd"), *SMALL]) == 0
        for name in ("b.nrrd", "b_labels.nrrd"):
            (tmp_path / name).unlink()
    else:
        assert (done.returncode, done.stderr) == (3, "Cancelled. No half-written file is left.\n")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    outcome("ended while writing", REFUSED if found == old else ELSE)
    assert found == old


def test_two_runs_on_one_output_do_not_mix(tmp_path, spinemamba, outcome):
    """Image and labels come from the same run, and the other run is refused."""
    both = '"$@" --seed 1 & "$@" --seed 2; first=$?; wait $!; echo $first $?'
    done = spinemamba("phantom", "a.nrrd", *SMALL, shell=both)
    codes = sorted(done.stdout.splitlines()[-1].split())
    made = {}
    for seed in ("1", "2"):
        assert main(["phantom", str(tmp_path / f"{seed}.nrrd"), *SMALL, "--seed", seed]) == 0
        made[seed] = [read_volume(tmp_path / f"{seed}{part}.nrrd").array for part in PARTS]
    found = [read_volume(tmp_path / f"a{part}.nrrd").array for part in PARTS]
    one_run = any(
        all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))
        for arrays in made.values()
    )
    right = one_run and codes == ["0", "2"]
    outcome("two runs on one output", RIGHT if right else ELSE)
    assert codes == ["0", "2"]
    assert one_run
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(SCRATCH)]


@pytest.mark.parametrize(
    "words",
    [("phantom", ""), ("measure", ""), ("pack", "", "--coarse", "a"), ("train", "--out", "")],
    ids=lambda words: words[0],
)
def test_an_empty_argument_is_not_the_working_directory(
    tmp_path, monkeypatch, capsys, outcome, words
):
    monkeypatch.chdir(tmp_path)
    code = main(list(words))
    error = capsys.readouterr().err
    right = code == 2 and error.startswith("Argument ") and not list(tmp_path.iterdir())
    outcome("empty argument", REFUSED if right else ELSE)
    assert right, error


def test_a_working_directory_that_was_removed_is_named(tmp_path, spinemamba, outcome):
    done = spinemamba("phantom", "a.nrrd", *SMALL, shell='mkdir x; cd x; rmdir ../x; "$@"')
    said = "The working directory does not exist any more. Change"
    right = done.returncode == 2 and said in done.stderr and not list(tmp_path.iterdir())
    outcome("lost working directory", REFUSED if right else ELSE)
    assert right, done
