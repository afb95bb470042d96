"""Trainings that are killed, run out of disk space, lack permissions, or run concurrently."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.checkpoint import load_checkpoint

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork"),
]

RUNNER = Path(__file__).with_name("disturbed_trainings.py")
FILES = {"cases", "checkpoint.pt", "recipe.toml", "sheet.png", "training.json"}
STEPS = 3
BUG = ("Traceback", "Something went wrong", "damaged")
CT, SEG = "_ct.nii.gz", "_seg-vert_msk.nii.gz"
Outcome = Callable[[str, str], None]
Results = list[dict[str, object]]


@dataclass(frozen=True)
class Story:
    """Folders of many trainings, and their results in the order of the calls."""

    folder: Path
    truth: Path
    stopped: Results
    later: Results
    both: Results


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one own case, L1 to L3."""
    folder = tmp_path_factory.mktemp("data")
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True)
    phantom = make_phantom(1, options)
    write_image(phantom.image, folder / f"a{CT}")
    write_image(phantom.labels, folder / f"a{SEG}")
    return folder


def words(data: Path, out: Path, steps: int = STEPS) -> list[str]:
    every = ["coarse", "--out", str(out), "--data", str(data), "--phantoms", "0"]
    every += ["--change-recipe"] if steps != STEPS else []
    return [*every, "--steps", str(steps)]


def run(calls: list[dict[str, object]], before: tuple[str, ...] = ()) -> Results:
    """Return the results of calls of ``spinemamba train``, each in a separate process.

    Args:
        calls: As `disturbed_trainings` takes them.
        before: Command that starts the process of all calls.
    """
    done = subprocess.run(
        [*before, sys.executable, str(RUNNER), json.dumps(calls)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(result: dict[str, object]) -> bool:
    """Return whether a call ended with exit code 2 and one sentence."""
    error = str(result["error"])
    return result["code"] == 2 and bool(error) and not any(word in error for word in BUG)


def whole(folder: Path) -> bool:
    """Return whether a folder holds a finished training and nothing else."""
    return {path.name for path in folder.iterdir()} == FILES


def weights(folder: Path) -> list[torch.Tensor]:
    return list(load_checkpoint(folder)["average"].values())


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


STOPS = [(signal.SIGKILL, step) for step in range(1, 13)]
STOPS += [(signal.SIGTERM, step) for step in (3, 6)] + [(signal.SIGINT, 7)]
LATER = (1, 3, 4, 5)


@pytest.fixture(scope="module")
def story(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Undisturbed trainings, stopped and resumed ones, and two at the same time."""
    folder = tmp_path_factory.mktemp("story")
    calls = [{"words": words(data, folder / "truth")}]
    for number, step in STOPS:
        once = {"words": words(data, folder / f"stopped{number.name}{step}")}
        calls += [once | {"stop_at": step, "signal": number}, once]
    for step in LATER:
        once = {"words": words(data, folder / f"later{step}", steps=5)}
        killed = {"copy": str(folder / "truth"), "stop_at": step, "signal": signal.SIGKILL}
        calls += [once | killed, once]
    calls.append({"words": words(data, folder / "both"), "times": 2})
    results = run(calls)
    first, second = 1 + 2 * len(STOPS), 1 + 2 * len(STOPS) + 2 * len(LATER)
    truth = folder / "truth"
    assert results[0]["code"] == 0, results[0]
    assert whole(truth)
    return Story(folder, truth, results[1:first], results[first:second], results[second:])


def test_a_training_killed_during_any_write_can_be_resumed(story: Story, outcome: Outcome):
    results = zip(STOPS, story.stopped[::2], story.stopped[1::2], strict=True)
    for (number, step), one, two in results:
        out = story.folder / f"stopped{number.name}{step}"
        # The last steps of some come after the end of the training.
        right = one["code"] in ((-9, 0) if number == signal.SIGKILL else (3, 0))
        right &= two["code"] == 0 and whole(out) and same(weights(out), weights(story.truth))
        outcome("training stopped while it writes", "right" if right else "anything else")
        assert right, (number, step, one, two, list(out.iterdir()))
    assert sum(result["code"] == -9 for result in story.stopped) >= 9


def test_a_training_killed_while_resuming_keeps_its_checkpoint(story: Story, outcome: Outcome):
    expected = weights(story.folder / f"later{LATER[0]}")
    for step, two in zip(LATER, story.later[1::2], strict=True):
        out = story.folder / f"later{step}"
        right = two["code"] == 0 and whole(out) and load_checkpoint(out)["step"] == 5
        right &= same(weights(out), expected)
        outcome("training stopped while it writes", "right" if right else "anything else")
        assert right, (step, two)


def test_of_two_trainings_in_one_folder_one_is_refused(story: Story, outcome: Outcome):
    first, second = sorted(story.both, key=lambda result: int(str(result["code"])))
    right = first["code"] == 0 and refused(second)
    outcome("two trainings at once", "refused" if right else "anything else")
    assert right, story.both
    assert "Another training is running in" in str(second["error"])
    assert whole(story.folder / "both")
    assert same(weights(story.folder / "both"), weights(story.truth))


def test_a_training_stopped_by_a_full_disk_can_be_resumed(
    data: Path, tmp_path: Path, outcome: Outcome
):
    truth = tmp_path / "truth"
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=40m none "$0" && "$@" && cp -r "$0" "$0/../kept"'
    small = ("unshare", "-rm", "sh", "-c", script, str(disk))
    if shutil.which("unshare") is None or subprocess.run([*small, "true"], check=False).returncode:
        pytest.skip("this system mounts no disk of memory for this user")
    shutil.rmtree(kept)
    lefts = (0, 10_000, 120_000, 200_000, 600_000, 1_000_000)
    calls = [{"words": words(data, truth)}]
    for left in lefts:
        once = {"words": words(data, disk / f"left{left}")}
        calls += [once | {"plug": str(disk / "plug"), "left": left}, once]
    results = run(calls, small)[1:]
    for left, one, two in zip(lefts, results[::2], results[1::2], strict=True):
        out = kept / f"left{left}"
        right = two["code"] == 0 and whole(out) and same(weights(out), weights(truth))
        ended = refused(one) and "No space left" in str(one["error"])
        outcome("training on a full disk", "refused" if ended and right else "anything else")
        assert ended, (left, one)
        assert right, (left, two)


DENIED = ("data", "data/p1", f"data/a{SEG}", "out")


def test_a_file_without_permission_is_named(data: Path, tmp_path: Path, outcome: Outcome):
    # Root can read everything unless it drops that right.
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
    if drop and shutil.which("setpriv") is None:
        pytest.skip("this system cannot take the administrator's rights away")
    calls, modes = [], []
    for number, denied in enumerate(DENIED):
        case = tmp_path / str(number)
        shutil.copytree(data, case / "data")
        (case / "data" / "p1").mkdir()
        (case / "out").mkdir()
        modes.append((case / denied).stat().st_mode)
        (case / denied).chmod(0)
        calls.append({"words": words(case / "data", case / "out")})
    results = run(calls, drop)
    for number, (denied, mode, result) in enumerate(zip(DENIED, modes, results, strict=True)):
        case = tmp_path / str(number)
        (case / denied).chmod(mode)
        right = refused(result) and Path(denied).name in str(result["error"])
        outcome("training without permission", "refused" if right else "anything else")
        assert right, (denied, result)
        assert "preview of the training patches" not in str(result["out"])
        assert not [*(case / "out").iterdir()]
