"""Runs that are ended, or whose environment changes, at each of their stages.

Either the outputs are those of an undisturbed run, or the run ends with a message and earlier
outputs are unchanged; no other file is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disturbed_runs_server import Result, Server, can_mount, other_locale
from synthetic_dicom import write_series

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.scratch import SCRATCH
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.checkpoint import load_checkpoint

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork"),
]

RIGHT, REFUSED, ELSE = "right", "refused", "anything else"
BUG = ("Traceback", "Something went wrong", "Error", "damaged")
TRAINING = {"cases", "checkpoint.pt", "recipe.toml", "sheet.png", "training.json"}
WRITING = ("synced", "named")

Contents = dict[str, str]
Record = Callable[[str, str], None]


@dataclass(frozen=True)
class Command:
    """A command that is disturbed.

    Attributes:
        words: Arguments of ``spinemamba``; names in braces are those of inputs, and ``{out}`` is
            the folder of the outputs.
        over: Arguments that allow it to replace outputs.
        other: Arguments that give other outputs of the same names.
    """

    words: str
    over: str = "--overwrite"
    other: str = ""

    def call(self, inputs: dict[str, Path], out: Path, more: str = "") -> list[str]:
        """Return the arguments of a call, with more at their end."""
        return [word.format(out=out, **inputs) for word in f"{self.words} {more}".split()]


STL, SEG, TRAIN = "export stl", "export dicom seg", "train"
COMMANDS = {
    "segment": Command("segment {scan} {out}/a.seg.nrrd --report", other="--pin L5@0,0,0"),
    "measure": Command("measure {labels} --image {scan} --out {out}"),
    STL: Command("export {labels} --stl {out} --yes", other="--smoothing 0"),
    SEG: Command("export {boxes} --dicom-seg {out}/a.dcm --source {series} --yes"),
    TRAIN: Command(
        "train coarse --out {out} --data {cases} --phantoms 0 --steps 2", over="", other=""
    ),
}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small inputs of all commands."""
    folder = tmp_path_factory.mktemp("inputs")
    made = {"scan": "p.nrrd", "labels": "q.seg.nrrd", "boxes": "b.nrrd", "series": "series"}
    made = {name: folder / path for name, path in made.items()} | {"cases": folder / "cases"}
    options = PhantomOptions(first="L2", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True)
    phantom = make_phantom(1, options)
    write_image(phantom.image, made["scan"])
    write_image(phantom.labels, made["labels"])
    made["cases"].mkdir()
    write_image(phantom.image, made["cases"] / "a_ct.nii.gz")
    write_image(phantom.labels, made["cases"] / "a_seg-vert_msk.nii.gz")
    write_series(made["series"])
    volume = read_volume(made["series"])
    array = np.zeros(volume.array.shape, np.uint8)
    for name, slices in (("L3", slice(1, 5)), ("L2", slice(7, 11))):
        array[slices, 2:8, 3:10] = BY_NAME[name].value
    write_image(volume.with_array(array), made["boxes"])
    return made


def contents(folder: Path) -> Contents:
    """Return a digest of each file of a folder, by its name.

    For a DICOM SEG, a checkpoint and the index of training cases only the parts that do not change
    from run to run count.
    """
    found = {}
    for path in sorted(folder.rglob("*") if folder.is_dir() else ()):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name != "checkpoint.pt":
            found[name] = hashlib.sha256(_lasting(path)).hexdigest()
        if path.name == "checkpoint.pt":
            weights = load_checkpoint(folder)["average"].values()
            data = b"".join(weight.numpy().tobytes() for weight in weights)
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def _lasting(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name == "index.json":
        return re.sub(rb'"modified_ns": \d+', b"", data)
    if path.suffix != ".dcm" or not data[128:].startswith(b"DICM"):
        return data
    pydicom = pytest.importorskip("pydicom")
    made = pydicom.dcmread(path)
    labels = " ".join(item.SegmentLabel for item in made.SegmentSequence)
    return labels.encode() + made.PixelData


def said(result: Result) -> str:
    """Return the message with which a run was refused; empty if it was not."""
    lines = result["error"].splitlines()
    right = lines and lines[-1].endswith(".") and not any(word in result["error"] for word in BUG)
    return lines[-1] if right and result["code"] in (2, 3) else ""


@dataclass(frozen=True)
class Ground:
    """A command whose undisturbed outputs are known.

    Attributes:
        name: Name of the command.
        inputs: As from `inputs`.
        folder: Folder of its runs.
        disk: A small disk visible to the server only; None if it cannot be mounted.
        server: Forks the runs.
        points: Every point that a run reaches, in order.
        truth: Outputs of an undisturbed run.
        before: Other outputs of the same names.
    """

    name: str
    inputs: dict[str, Path]
    folder: Path
    disk: Path | None
    server: Server
    points: list[tuple[str, int]]
    truth: Contents
    before: Path

    @property
    def stages(self) -> list[tuple[str, int]]:
        """The points at which a stage begins."""
        return [point for point in self.points if point[1] == 1 or point == ("named", 2)]

    def words(self, out: Path, *, over: bool = False) -> list[str]:
        """Return the arguments of a call."""
        command = COMMANDS[self.name]
        return command.call(self.inputs, out, command.over if over else "")

    def disturbed(
        self, deed: str, point: tuple[str, int], out: Path, *, over: bool = False, **more: Any
    ) -> Result:
        """Return the result of a run that is disturbed at a point."""
        words = self.words(out, over=over)
        call = {"words": words, "at": point, "do": deed, "folder": str(out), **more}
        result = self.server.run(call)
        assert result["reached"], (deed, point, result)
        return result

    def judge(self, result: Result, out: Path, before: Contents) -> str:
        """Return the outcome of a run: `RIGHT`, `REFUSED` or `ELSE`.

        Surfaces are replaced vertebra by vertebra, together with the manifest; a
        training keeps its outputs.
        """
        found = contents(out)
        if result["code"] == 0:
            return RIGHT if found == self.truth else ELSE
        same = found == before
        if self.name == STL:
            same = same or (
                whole_export(out)
                and all(
                    found[name] in (self.truth[name], before.get(name))
                    for name in found
                    if name.endswith(".stl")
                )
            )
        if self.name == TRAIN:
            same = {name.partition("/")[0] for name in found} <= TRAINING
        return REFUSED if said(result) and same else ELSE


def whole_export(folder: Path) -> bool:
    """Return whether a manifest lists exactly the surfaces of a folder, with their digests."""
    found = contents(folder)
    listed = json.loads((folder / "manifest.json").read_text())["vertebrae"]
    files = {file["name"]: file["sha256"] for entry in listed for file in entry["files"]}
    return found == files | {name: found[name] for name in ("manifest.csv", "manifest.json")}


@pytest.fixture(params=COMMANDS)
def ground(
    request: pytest.FixtureRequest, tmp_path: Path, inputs: dict[str, Path]
) -> Iterator[Ground]:
    """A command, undisturbed."""
    name, command = request.param, COMMANDS[request.param]
    if name == SEG:
        pytest.importorskip("highdicom")
    truth, before, disk = (tmp_path / name for name in ("truth", "before", "disk"))
    disk.mkdir()
    disk = disk if can_mount(disk) else None
    env = {"TRUTH": str(inputs["labels"]), **other_locale(tmp_path)}
    server = Server([command.words.split()[0]], disk, **env)
    result = server.run({"words": command.call(inputs, truth), "points": True})
    assert result["code"] == 0, result
    if name == STL:
        words = command.call(inputs, before, "--smoothing 0")
        assert server.run({"words": words})["code"] == 0
    elif name == TRAIN:
        before.mkdir()
    else:
        shutil.copytree(truth, before)
        for path in before.iterdir():
            path.write_bytes(b"of before")
    points = [tuple(point) for point in result["points"]]
    if name == TRAIN:
        # Further points of writing are those of `test_faults_training`.
        points = [point for point in points if point[1] == 1]
    yield Ground(name, inputs, tmp_path, disk, server, points, contents(truth), before)
    server.end()


Tried = Iterator[tuple[str, object, str, Result]]
"""Kind of fault, point, outcome and result of each run."""


def ended(ground: Ground) -> Tried:
    """End runs that replace outputs, and others that write into new folders."""
    old, unfinished = contents(ground.before), ground.before
    for number, point in enumerate(ground.points):
        out = ground.folder / f"ended{number}"
        shutil.copytree(ground.before, out)
        result = ground.disturbed("SIGTERM", point, out, over=True)
        yield "SIGTERM", point, ended_outcome(ground, result, out, old), result
    for number, point in enumerate(ground.stages):
        out = ground.folder / f"new{number}" / "deep"
        result = ground.disturbed("SIGINT", point, out)
        yield "SIGINT", point, ended_outcome(ground, result, out, {}), result
        unfinished = out if result["code"] == 3 else unfinished
        if ground.name != TRAIN:
            assert not out.exists() or ground.name == STL, point
    if ground.name == TRAIN:
        # The last run that did not finish got the furthest.
        result = ground.server.run({"words": ground.words(unfinished)})
        # The preview is that of the patches from there on.
        made, truth = (
            {name: digest for name, digest in each.items() if name != "sheet.png"}
            for each in (contents(unfinished), ground.truth)
        )
        right = result["code"] == 0 and made == truth
        yield "SIGINT, and again", None, RIGHT if right else ELSE, result


def ended_outcome(ground: Ground, result: Result, out: Path, before: Contents) -> str:
    """Return the outcome of a run that got a signal.

    A training may complete its schedule nevertheless, because it finishes its step and saves.
    """
    outcome = ground.judge(result, out, before)
    complete = ground.name == TRAIN and outcome == RIGHT
    return outcome if result["code"] == 3 or complete else ELSE


def killed(ground: Ground) -> Tried:
    """Kill runs one after the other in one folder; the last one is not disturbed."""
    out = ground.folder / "killed"
    shutil.copytree(ground.before, out)
    known = {(n, d) for have in (ground.truth, contents(out)) for n, d in have.items()}
    for point in ground.points:
        result = ground.disturbed("SIGKILL", point, out, over=True)
        seen = {(n, d) for n, d in contents(out).items() if not n.startswith(SCRATCH)}
        whole = ground.name in (TRAIN, STL) or seen <= known
        yield "SIGKILL", point, REFUSED if whole and result["code"] == -9 else ELSE, result
    result = ground.server.run({"words": ground.words(out, over=True)})
    yield "SIGKILL, and again", None, ground.judge(result, out, {}), result


def starved(ground: Ground) -> Tried:
    """Fill the disk, or make the folder read-only, during a run."""
    old = contents(ground.before)
    for number, point in enumerate(ground.stages):
        out = ground.folder / f"locked{number}"
        shutil.copytree(ground.before, out)
        result = ground.disturbed("read-only", point, out, over=True, user=True)
        # The run cannot remove its partial files there; a later run does.
        for lock in out.glob("*.lock"):
            lock.unlink()
        yield "read-only folder", point, ground.judge(result, out, old), result
        if ground.disk is not None:
            out, keep = ground.disk / f"full{number}", ground.folder / f"full{number}"
            more = {"copy": str(ground.before), "keep": str(keep)}
            result = ground.disturbed("full", point, out, over=True, **more)
            yield "full disk", point, ground.judge(result, keep, old), result


def moved(ground: Ground) -> Tried:
    """Remove the temporary folder, change the locale, or set a strict umask, during a run."""
    deed = "lost TMPDIR and LC_NUMERIC"
    for number, point in enumerate(ground.stages):
        out = ground.folder / f"moved{number}"
        result = ground.disturbed(deed, point, out, umask=0o077)
        outcome = ground.judge(result, out, {})
        yield deed, point, outcome if outcome == RIGHT else ELSE, result
        modes = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()}
        yield "umask 077", point, RIGHT if modes == {0o600} else ELSE, {"modes": [*modes]}


def met(ground: Ground) -> Tried:
    """Start and end another run with the same outputs during a run."""
    for number, point in enumerate(ground.stages):
        over = bool(COMMANDS[ground.name].over) and point[0] in WRITING
        for may in {False, over}:
            out = ground.folder / f"met{number}{may}"
            words = ground.words(out, over=may)
            result = ground.disturbed("second", point, out, over=may, second=words)
            both = result, result["second"]
            codes = sorted(one["code"] for one in both)
            right = codes == [0, 2] or (may and codes == [0, 0])
            right &= all(said(one) for one in both if one["code"])
            right &= contents(out) == ground.truth
            yield "second run", point, RIGHT if right else ELSE, result


def test_a_disturbed_run_succeeds_or_leaves_the_folder_unchanged(ground: Ground, outcome: Record):
    wrong = []
    for kind, point, result, details in chain.from_iterable(
        faults(ground) for faults in (ended, killed, starved, moved, met)
    ):
        outcome(f"{ground.name}: {kind}", result)
        if result == ELSE:
            wrong.append((kind, point, details))
    assert wrong == []


NOWHERE = "/proc/nothing"
SURROUNDINGS = {
    "HOME not writable": {"HOME": NOWHERE, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""},
    "no such locale or TMPDIR": {"LC_ALL": "xx_XX", "LC_NUMERIC": "xx_XX", "TMPDIR": NOWHERE},
}


def test_environment_and_working_directory_do_not_change_the_result(
    inputs: dict[str, Path], tmp_path: Path, outcome: Record
):
    found = {}
    for name, env in {"": {}, **SURROUNDINGS}.items():
        server = Server(["segment", "measure"], TRUTH=str(inputs["labels"]), **env)
        for command in ("segment", "measure"):
            out = tmp_path / f"{name} {command}"
            result = server.run({"words": COMMANDS[command].call(inputs, out)})
            assert result["code"] == 0, result
            found[name, command] = contents(out)
            right = found[name, command] == found["", command]
            outcome(name or "undisturbed", RIGHT if right else ELSE)
            assert right, (name, command)
        server.end()
