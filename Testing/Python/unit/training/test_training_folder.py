"""The folder of a training: files of earlier calls, damage, locks and disk space."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import CONFIG, lumbar_case, trainer

from spinemamba.cli.main import main
from spinemamba.common.errors import Code, UserError
from spinemamba.common.locks import try_lock
from spinemamba.network.config import COARSE, FINE
from spinemamba.training.checkpoint import load_checkpoint, save_checkpoint
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.tensors import load_tensors
from spinemamba.training.folder import read_metadata, working_in
from spinemamba.training.loop import Trainer
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.options import TrainOptions
from spinemamba.training.pack_model import pack_model


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    """The folder of a training that has taken one step."""
    one = trainer(case)
    one.learn()
    one.save(tmp_path / "run")
    return tmp_path / "run"


NUMBERS = {
    "--minutes": ("0", "-1", "nan", "inf", "1e400", "ten"),
    "--steps": ("0", "-3", "1.5", "nan", "99999999999"),
    "--learning-rate": ("0", "-1", "nan", "inf", "1e30"),
    "--seed": ("-5", "0.5", "9223372036854775808"),
    "--threads": ("-2", "1e3", "100000"),
    "--phantoms": ("-1", "2.5"),
}


@pytest.mark.parametrize(
    ("option", "text"), [(option, text) for option, texts in NUMBERS.items() for text in texts]
)
def test_option_values_out_of_range_are_refused(option: str, text: str, tmp_path: Path, capsys):
    assert main(["train", "coarse", "--out", str(tmp_path / "run"), f"{option}={text}"]) == 2
    error = capsys.readouterr().err
    assert f"argument {option}: '{text}' is not a " in error
    assert not (tmp_path / "run").exists()


def weights_of(one: Trainer) -> list[torch.Tensor]:
    return [value.clone() for value in one.network.state_dict().values()]


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(case: Case, folder: Path):
    one = trainer(case, learning_rate=0.5)
    one.resume(folder)
    before = weights_of(one)
    broken = one.draw()
    broken[0][0, 0, 3, 3, 3] = torch.nan
    one.draw = lambda: broken
    with pytest.raises(UserError, match=r"not finite at step 2.*--learning-rate 0\.5"):
        one.run(folder, lambda text: None)
    assert all(map(torch.equal, weights_of(one), before))
    assert load_checkpoint(folder)["step"] == 1


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(case: Case, folder: Path):
    one = trainer(case)
    before = weights_of(one)
    one.network.head.bias.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(UserError, match="not finite at step 1"):
        one.run(folder, lambda text: None)
    assert all(map(torch.equal, weights_of(one), before))
    assert load_checkpoint(folder)["step"] == 1


def test_a_diverging_training_stops_and_keeps_the_last_checkpoint(case: Case, folder: Path):
    before = (folder / "checkpoint.pt").read_bytes()
    one = Trainer(CONFIG, [case], [1.0], TrainOptions(steps=40, learning_rate=1e30, save_every_s=0))
    one.resume(folder)
    one.network.load_state_dict({k: v * 1e38 for k, v in one.network.state_dict().items()})
    with pytest.raises(UserError, match="not finite"):
        one.run(folder, lambda text: None)
    assert (folder / "checkpoint.pt").read_bytes() == before
    assert trainer(case).resume(folder)


def test_weights_that_are_not_finite_are_never_saved(case: Case, folder: Path):
    one = trainer(case)
    next(iter(one.average.values())).view(-1)[0] = torch.inf
    with pytest.raises(UserError, match="weights are not finite"):
        one.save(folder)
    assert load_checkpoint(folder)["step"] == 1


def test_a_checkpoint_with_weights_that_are_not_finite_is_refused(case: Case, folder: Path):
    state = load_checkpoint(folder)
    next(iter(state["average"].values())).view(-1)[0] = torch.nan
    save_checkpoint(state, folder)
    for use in (trainer(case).resume, lambda f: pack_model(f, f, f / "m", name="m", version="1")):
        with pytest.raises(UserError, match="holds weights that are not finite") as caught:
            use(folder)
        assert caught.value.code == Code.MODEL_BAD


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def replace_by(state: dict) -> Callable[[Path], None]:
    return lambda path: save_checkpoint(state, path.parent)


CHECKPOINT: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 1000),
    "empty": lambda path: os.truncate(path, 0),
    "one bit is wrong": flip,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "something else": replace_by({"w": torch.zeros(2)}),
    "other weights": replace_by({"network": {"w": torch.zeros(2)}, "average": {}}),
}


@pytest.mark.parametrize("kind", CHECKPOINT)
def test_a_damaged_checkpoint_is_refused_with_a_remedy(kind: str, case: Case, folder: Path):
    CHECKPOINT[kind](folder / "checkpoint.pt")
    with pytest.raises(UserError, match="checkpoint") as caught:
        trainer(case).resume(folder)
    assert caught.value.code == Code.MODEL_BAD
    assert "elete" in caught.value.remedy


def test_an_unreadable_checkpoint_is_not_reported_as_damaged(case: Case, folder: Path, monkeypatch):
    def denied(path: Path, *args: object, **more: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read: Permission denied"):
            trainer(case).resume(folder)
    (folder / "bank").mkdir()
    with pytest.raises(UserError, match=r"bank cannot be read") as caught:
        load_tensors(folder / "bank")
    assert caught.value.code == Code.INPUT_BAD


ABOUT: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
    "a list": lambda path: path.write_text("[]"),
    "without sources": lambda path: path.write_text('{"network": {}, "options": {}}'),
    "a number for sources": lambda path: path.write_text(
        '{"network": {}, "options": {}, "sources": [1]}'
    ),
    "unknown settings": lambda path: path.write_text(
        '{"network": {"wings": 2}, "options": {}, "sources": []}'
    ),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe{"),
}


@pytest.mark.parametrize("kind", ABOUT)
def test_a_damaged_training_json_is_refused_by_train_and_pack(
    kind: str, case: Case, folder: Path, tmp_path: Path
):
    ABOUT[kind](folder / "training.json")
    with pytest.raises(UserError, match=r"training\.json") as caught:
        trainer(case).resume(folder)
    assert caught.value.code == Code.MODEL_BAD
    assert "delete" in caught.value.remedy
    with pytest.raises(UserError):
        pack_model(folder, folder, tmp_path / "m", name="m", version="1")


def test_a_training_without_checkpoint_is_not_packed(folder: Path, tmp_path: Path, capsys):
    (folder / "checkpoint.pt").rename(tmp_path / "elsewhere")
    words = ["pack", str(tmp_path / "m"), "--coarse", str(folder), "--fine", str(folder)]
    assert main([*words, "--name", "m"]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err


def real_training(folder: Path, network: str, kind: str = "spinemamba") -> Path:
    """Return the folder of a training of one of the starter's networks, without weights."""
    save_checkpoint({}, folder)
    config = {"coarse": COARSE, "fine": FINE}[network].to_json()
    about = {"network": config, "options": {"kind": kind}, "sources": []}
    (folder / "training.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["fine"], "'fine --size tiny --kind spinemamba'"),
        (["coarse", "--kind", "plain"], "'coarse --size tiny --kind plain'"),
        (["coarse", "--size", "base"], "'coarse --size base --kind spinemamba'"),
    ],
    ids=["network", "kind", "size"],
)
def test_the_folder_of_another_training_is_refused_before_any_work(
    words: list[str], asked: str, tmp_path: Path, capsys
):
    folder = real_training(tmp_path / "run", "coarse")
    before = sorted(folder.rglob("*"))
    assert main(["train", *words, "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "holds the training of 'coarse --size tiny --kind spinemamba'" in error
    assert f"asks for {asked}" in error
    assert sorted(folder.rglob("*")) == before


def test_coarse_and_fine_networks_cannot_be_swapped_when_packing(tmp_path: Path):
    fine = real_training(tmp_path / "fine", "fine")
    with pytest.raises(UserError, match=r"'fine --size tiny.*', not of the coarse network"):
        pack_model(fine, fine, tmp_path / "m", name="m", version="1")


def no_space(*args: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_and_leaves_no_file(case: Case, folder: Path, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(os, "fsync", no_space)
    for save in (lambda: save_checkpoint({"w": 1}, folder), lambda: trainer(case).save(folder)):
        with pytest.raises(UserError, match="No space left on device") as caught:
            save()
        assert caught.value.code == Code.DISK_FULL
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before


def test_a_disk_too_small_for_checkpoints_is_refused_before_training(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: (10**9, 0, 10**6))
    with (
        pytest.raises(UserError, match="has 1 MB left; checkpoints of this network need") as caught,
        working_in(tmp_path / "run", COARSE, "spinemamba"),
    ):
        pytest.fail("it has begun")
    assert caught.value.code == Code.DISK_FULL
    monkeypatch.setattr("shutil.disk_usage", lambda folder: (0, 0, 0))  # free space unknown
    with working_in(tmp_path / "run", COARSE, "spinemamba"):
        pass


def test_a_read_only_folder_is_refused_before_training(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        assert main(["train", "coarse", "--out", str(out)]) == 2
        assert "phantom" not in capsys.readouterr().out


def test_an_incomplete_last_row_of_metrics_is_removed(tmp_path: Path):
    (tmp_path / "curves.csv").write_text("step,minutes,bone\n50,1,25.5\n100,1,2")
    curves = MetricsLog(tmp_path, lambda text: None)
    for step in range(51, 101):
        curves.add(step, {"bone": 2.0}, 60.0)
    curves.close()
    rows = (tmp_path / "curves.csv").read_text().splitlines()
    assert rows == ["step,minutes,bone", "50,1,25.5", "100,1,2"]


HOLD = """
import sys
from pathlib import Path
from spinemamba.common.locks import try_lock
with try_lock(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_excludes_other_processes_until_its_process_ends(tmp_path: Path, repository: Path):
    path = tmp_path / "training.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=repository / "SpineMambaSegment",
    ) as other:
        assert other.stdout.readline() == b"held\n"
        says = rf"Another training .*process {other.pid} on "
        with pytest.raises(UserError, match=says), try_lock(path, "training"):
            pytest.fail("two at once")
        other.kill()
        other.wait()
    assert path.exists()  # but it does not lock
    with try_lock(path, "training"):
        assert str(os.getpid()) in path.read_text()
        with pytest.raises(UserError), try_lock(path, "training"):
            pytest.fail("two at once")
    assert not path.exists()


def test_the_metadata_of_a_training_is_read_back_equal(case: Case, folder: Path):
    about = read_metadata(folder)
    assert about.kind == "spinemamba"
    assert about.sources == ("synthetic spines of this package, Apache-2.0.",)
    assert read_metadata(folder, "coarse") == about  # a network of unknown size may be either stage
