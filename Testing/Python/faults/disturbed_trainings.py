"""Run ``spinemamba train`` with a tiny network several times, each in a separate process.

``python disturbed_trainings.py CALLS`` takes a JSON list of calls and prints one of their exit
codes, standard outputs and standard errors. A call is an object with ``words``, the
arguments of ``spinemamba train``, and optionally

- ``stop_at`` and ``signal``: the process sends itself the signal at that one of its steps of
  writing (files that are forced to the disk, renamed or removed), counted from 1;
- ``plug`` and ``left``: before the call a file of this name fills its disk except ``left`` bytes,
  and the disk reports no free space;
- ``copy``: this folder is copied to the one after ``--out`` first;
- ``times``: number of processes that do the same at once.

All are forked from one process that has imported torch but not used it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))

import torch  # noqa: E402 - the path is set just above
import torch._dynamo  # noqa: E402 - an optimiser would load it in every child
from child_processes import fill_disk, start_child, text_of  # noqa: E402 - as all below, needs the path

from spinemamba.cli import train as train_command  # noqa: E402
from spinemamba.cli.main import main  # noqa: E402
from spinemamba.network.config import TRAINED, NetworkConfig  # noqa: E402
from spinemamba.training import loop, monitoring, recipe  # noqa: E402, F401 - loaded before forks
from spinemamba.training.data import gather  # noqa: E402, F401 - loaded before forks
from spinemamba.training.layouts import listing  # noqa: E402, F401 - loaded before forks
from spinemamba.training.validation import monitor  # noqa: E402, F401 - loaded before forks

TINY = NetworkConfig(
    patch_vox=(16, 16, 16),
    channels=(16, 16),
    encoder_rvm=(0, 1),
    decoder_rvm=(0,),
    vsp_stages=(0,),
    prior_stride=8,
    prior_heads=2,
    state_size=2,
)
STEPS_OF_WRITING = ((os, "fsync"), (Path, "replace"), (Path, "rename"), (shutil, "rmtree"))


def stop_at(wanted: int, number: int) -> None:
    """Make the process send itself a signal at a step of writing, counted from 1."""
    done = 0

    def counted(step: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **more: object) -> object:
            nonlocal done
            done += 1
            if done == wanted:
                os.kill(os.getpid(), number)
            return step(*args, **more)

        return run

    for where, name in STEPS_OF_WRITING:
        setattr(where, name, counted(getattr(where, name)))


def train(call: dict[str, Any]) -> int:
    """Train in this process; return the exit code."""
    torch.set_num_threads(1)
    for key in TRAINED:
        TRAINED[key] = TINY
    train_command.SPACING_MM.update(coarse=8.0, fine=8.0)
    train_command.SHEET_PATCHES = 1
    if "stop_at" in call:
        stop_at(call["stop_at"], call["signal"])
    if "plug" in call:
        shutil.disk_usage = lambda folder: (0, 0, 0)
    return main(["train", *call["words"], "--threads", "1"])


def results_of(call: dict[str, Any]) -> list[dict[str, object]]:
    """Train in one or several children; return what came of them."""
    with contextlib.ExitStack() as stack:
        if "copy" in call:
            shutil.copytree(call["copy"], call["words"][call["words"].index("--out") + 1])
        if "plug" in call:
            stack.callback(fill_disk(Path(call["plug"]), call["left"]).unlink)
        open_file = lambda: stack.enter_context(tempfile.TemporaryFile())  # noqa: E731
        files = [(open_file(), open_file()) for _ in range(call.get("times", 1))]
        children = [start_child(partial(train, call), *pair) for pair in files]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        results = []
        for code, (out, error) in zip(codes, files, strict=True):
            results.append({"code": code, "out": text_of(out), "error": text_of(error)})
    return results


if __name__ == "__main__":
    every = [result for call in json.loads(sys.argv[1]) for result in results_of(call)]
    sys.stdout.write(json.dumps(every) + "\n")
