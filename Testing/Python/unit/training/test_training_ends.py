"""Trainings that a signal or a time limit ends, and that continue afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import lumbar_case, trainer

from spinemamba.common.errors import Cancelled
from spinemamba.training.checkpoint import load_checkpoint
from spinemamba.training.data.dataset import Case
from spinemamba.training.interruption import TimeLimit, interruptible
from spinemamba.training.loop import Trainer

STEPS = 6


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


def one(case: Case, order: str) -> Trainer:
    return trainer(case, order=order, batch_size=2, accumulate=2, steps=STEPS, minutes=None)


def weights(folder: Path) -> list[torch.Tensor]:
    state = load_checkpoint(folder)
    return [*state["network"].values(), *state["average"].values()]


def after_steps(count: int, training: Trainer, act: Callable[[], object]) -> None:
    """Call ``act`` after a number of steps of a training."""
    learn = training.learn

    def counted() -> dict[str, float]:
        parts = learn()
        if training.step == count:
            act()
        return parts

    training.learn = counted


@pytest.mark.parametrize("order", ["sequence", "numbered"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_the_next_call_ends_with_the_same_weights(
    name: str, order: str, case: Case, tmp_path: Path
):
    one(case, order).run(tmp_path / "whole", str)
    said: list[str] = []
    stopped = one(case, order)
    after_steps(3, stopped, lambda: os.kill(os.getpid(), getattr(signal, name)))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Cancelled):
        stopped.run(tmp_path / "parts", said.append)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert said[-2].startswith("stopping after this step")
    assert said[-1].startswith(f"saved at step 3 of {STEPS}")
    assert f"({name}): the same command continues" in said[-1]
    again = one(case, order)
    assert again.resume(tmp_path / "parts")
    again.run(tmp_path / "parts", said.append)
    assert said[-1].endswith("all steps are done")
    assert all(map(torch.equal, weights(tmp_path / "parts"), weights(tmp_path / "whole")))


def test_a_time_limit_saves_and_is_no_error(case: Case, tmp_path: Path):
    said: list[str] = []
    limit = TimeLimit(60.0)
    limited = one(case, "sequence")
    after_steps(2, limited, lambda: limit.step_took(3600.0))
    limited.run(tmp_path, said.append, limit)
    assert load_checkpoint(tmp_path)["step"] == 2
    assert said[-1].startswith(f"saved at step 2 of {STEPS}")
    assert "(time limit): the same command continues" in said[-1]


def test_a_time_limit_leaves_time_for_a_step_and_a_checkpoint():
    limit = TimeLimit(1.0)
    assert not limit.reached
    limit.step_took(30.0)
    limit.save_took(10.0)
    assert not limit.reached
    limit.save_took(16.0)
    assert limit.reached
    assert not TimeLimit(None).reached


def test_the_end_of_the_minutes_is_said(case: Case, tmp_path: Path):
    said: list[str] = []
    timed = trainer(case, minutes=1e-4, steps=1000)
    timed.run(tmp_path, said.append)
    assert said[-1].endswith("the 0.0001 minutes are over")
    assert load_checkpoint(tmp_path)["step"] == timed.step < 1000


def test_the_order_of_patches_stays_that_of_the_first_call(case: Case, tmp_path: Path):
    one(case, "sequence").save(tmp_path)
    resumed = one(case, "numbered")
    resumed.resume(tmp_path)
    assert resumed.options.order == "sequence"
    assert torch.equal(resumed.draw()[0], one(case, "sequence").draw()[0])


def test_a_second_ctrl_c_stops_at_once_unless_it_is_passed_on(monkeypatch):
    said: list[str] = []
    now = time.monotonic()
    with interruptible(said.append) as state:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # as torchrun does within a second
        assert state.reason == "SIGINT"
        monkeypatch.setattr(time, "monotonic", lambda: now + 100)
        os.kill(os.getpid(), signal.SIGTERM)  # more than once by some schedulers
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(said) == 1
