"""Check and measure everything that needs an NVIDIA GPU, in less than ten minutes.

``python Testing/Benchmarks/run.py gpu_check`` compares every scan back end with the reference,
values and gradients; segments a whole CT on the GPU and on the CPU; and trains the network ``base``
for 100 steps with patches from worker processes, then for a few in other precisions and memory
layouts. It prints tables; ``--write`` puts them into benchmarks.md. ``--rehearse`` runs all parts
in small on the CPU, to test this program.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import generate
import numpy as np
import torch
from speed_table import PAGE
from tiny_training import CONFIG
from torch import Tensor, nn

from spinemamba.benchmark.scans import LARGEST_STEP, Size, scan_inputs
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import load_model
from spinemamba.network.config import BASE, NetworkConfig
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment
from spinemamba.selective_scan.dispatch import BACKENDS, available_backends
from spinemamba.selective_scan.reference import scan_reference
from spinemamba.training.architectures import LEVEL_WEIGHT, SPACING_MM
from spinemamba.training.data.gather import DataOptions, gather_cases
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.execution import Execution, training_precision
from spinemamba.training.feed import NumberedFeed
from spinemamba.training.loop import Trainer
from spinemamba.training.loss import LossWeights
from spinemamba.training.options import TrainOptions

_SECTION = "gpu"

_WARM_UP_STEPS = 3
"""Steps that are not measured: they select algorithms and allocate memory."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        device: Device to measure.
        network: Network to train.
        phantom: Spine to segment and to train on.
        spacing_mm: Voxel spacing of the cases to train on.
        times: Scan whose time is measured.
        errors: Scan whose error is measured; the exact values come from a loop on the CPU.
        steps: Steps of the training.
        few_steps: Steps of each variant of it.
        workers: Processes that draw patches.
        minutes: After this time no further variant is begun.
    """

    device: torch.device
    network: NetworkConfig
    phantom: PhantomOptions
    spacing_mm: float
    times: Size
    errors: Size
    steps: int
    few_steps: int
    workers: int
    minutes: float


def full_plan(workers: int, minutes: float) -> Plan:
    """Return the plan for a GPU."""
    return Plan(
        device=torch.device("cuda", 0),
        network=BASE,
        phantom=PhantomOptions(spacing_mm=(2.0, 1.0, 1.0)),
        spacing_mm=SPACING_MM["fine"],
        times=Size(32768, 128, 16),
        errors=Size(1024, 64, 16),
        steps=100,
        few_steps=15,
        workers=workers,
        minutes=minutes,
    )


def rehearsal() -> Plan:
    """Return a plan in small for the CPU."""
    return Plan(
        device=torch.device("cpu"),
        network=replace(CONFIG, offsets=True),
        phantom=PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True),
        spacing_mm=8.0,
        times=Size(64, 16, 4),
        errors=Size(64, 16, 4),
        steps=4,
        few_steps=1,
        workers=1,
        minutes=5.0,
    )


def main(words: list[str]) -> int:
    """Run all parts; without a GPU, say so and return 2."""
    parser = argparse.ArgumentParser("gpu_check", description=__doc__)
    parser.add_argument("--workers", type=int, default=8, help="processes that draw patches")
    parser.add_argument("--minutes", type=float, default=8.0, help="limit for further variants")
    parser.add_argument("--write", action="store_true", help="write the tables into the page")
    parser.add_argument("--rehearse", action="store_true", help="run in small on the CPU")
    args = parser.parse_args(words)
    if not args.rehearse and not torch.cuda.is_available():
        sys.stderr.write(
            "torch finds no NVIDIA GPU on this computer, so there is nothing to measure. "
            "--rehearse tests this program on the CPU.\n"
        )
        return 2
    plan = rehearsal() if args.rehearse else full_plan(args.workers, args.minutes)
    end = time.monotonic() + 60 * plan.minutes
    parts = []
    for part in (computer, scans, whole_ct, training):
        try:
            text = part(plan, end)
        except Exception as error:  # the other parts are worth their time on a GPU
            text = f"The part *{part.__name__}* failed: {_first_line(error)}"
        sys.stdout.write(f"{text}\n\n")
        sys.stdout.flush()
        parts.append(text)
    if args.write:
        generate.write_section(PAGE, _SECTION, "\n\n".join(parts))
    return 0


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def computer(plan: Plan, end: float) -> str:
    """Return the device and the versions."""
    name = torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "CPU"
    return f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}."


def scans(plan: Plan, end: float) -> str:
    """Return the state, times and errors of every back end."""
    rows = []
    exact = _value_and_gradients(scan_reference, [x.double() for x in _inputs(plan.errors)])
    for name, state in available_backends(plan.device.type).items():
        if state != "ok":
            rows.append((name, state, "", "", "", ""))
            continue
        forward = backward = float("nan")
        if name != "reference":  # a loop over all tokens
            forward, backward = _times(name, plan)
        inputs = [x.to(plan.device) for x in _inputs(plan.errors)]
        outputs = _value_and_gradients(BACKENDS[name], inputs)
        errors = [
            float((a.cpu().double() - b).norm() / b.norm())
            for a, b in zip(outputs, exact, strict=True)
        ]
        times = ("" if np.isnan(t) else f"{1e3 * t:.2f} ms" for t in (forward, backward))
        rows.append((name, "ok", *times, f"{errors[0]:.0e}", f"{max(errors[1:]):.0e}"))
    size = plan.times
    text = f"Scan of {size.tokens} tokens, {size.channels} channels, {size.states} states:\n\n"
    heads = ("back end", "state", "forward", "backward", "error", "gradient error")
    return text + generate.table(heads, rows).rstrip()


def _inputs(size: Size) -> list[Tensor]:
    return scan_inputs(size, LARGEST_STEP)


def _value_and_gradients(scan: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = scan(*leaves)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)]


def _times(name: str, plan: Plan) -> tuple[float, float]:
    """Return the seconds of a forward and of a backward pass, the shortest of several."""
    leaves = [x.to(plan.device).requires_grad_() for x in scan_inputs(plan.times)]
    y = BACKENDS[name](*leaves)
    grad = torch.ones_like(y)

    def backward() -> None:
        torch.autograd.grad(y, leaves, grad, retain_graph=True)

    backward()
    return _seconds(lambda: BACKENDS[name](*leaves), plan), _seconds(backward, plan)


def _seconds(work: Callable[[], object], plan: Plan, repeats: int = 5) -> float:
    best = float("inf")
    for _ in range(repeats):
        _wait(plan.device)
        started = time.perf_counter()
        work()
        _wait(plan.device)
        best = min(best, time.perf_counter() - started)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def whole_ct(plan: Plan, end: float) -> str:
    """Return the time of a whole synthetic CT on both devices, and how equal the labels are."""
    image = make_phantom(3, plan.phantom).image
    rows, labels = [], []
    for device, precision in ((plan.device, "float32"), (plan.device, "auto"), ("cpu", "float32")):
        model = load_model(find_model(DEFAULT), str(device), precision)
        if device != "cpu":
            _segment(image, model)  # compiles kernels and selects algorithms
        started = time.perf_counter()
        labels.append(_segment(image, model))
        _wait(plan.device)
        seconds = time.perf_counter() - started
        same = float((labels[-1] == labels[0]).mean())
        rows.append((str(device), precision, f"{seconds:.1f} s", f"{100 * same:.4f} %"))
    size = " x ".join(map(str, image.array.shape[::-1]))
    heads = ("device", "precision", "time", "voxels labelled as in the first row")
    return f"A whole CT of {size} voxels, with everything but reading and writing:\n\n" + (
        generate.table(heads, rows).rstrip()
    )


def _segment(image: Volume, model: object) -> np.ndarray:
    return segment(image, model).labels.array


def training(plan: Plan, end: float) -> str:
    """Return the speed of a training: with workers, and in other precisions and layouts."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        options = DataOptions(Path(folder), phantoms=2, workers=min(2, plan.workers))
        cases, weights = gather_cases(options, plan.spacing_mm, _print)
        for variant in _VARIANTS:
            if rows and time.monotonic() > end:
                rows.append((variant.name, "left out: no time", "", "", "", ""))
                continue
            count = plan.few_steps if rows else plan.steps
            try:
                with _measured_trainer(plan, variant, (cases, weights)) as trainer:
                    rows.append((variant.name, *_steps(trainer, count, plan)))
            except Exception as error:  # such as too little memory, or a failed compilation
                rows.append((variant.name, _first_line(error), "", "", "", ""))
    heads = ("training", "steps", "s per step", "waiting for patches", "loss", "GPU memory")
    return (
        f"Steps with one patch each, {plan.workers} workers:\n\n"
        f"{generate.table(heads, rows).rstrip()}"
    )


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Attributes:
        name: Name in the table.
        precision: As `training_precision` takes it.
        layout: Memory layout of the weights and images of the convolutions.
        compiled: Whether the network is compiled.
    """

    name: str
    precision: str = "auto"
    layout: torch.memory_format = torch.contiguous_format
    compiled: bool = False


_VARIANTS = (
    Variant("as by default"),
    Variant("float32", precision="float32"),
    Variant("channels_last_3d", layout=torch.channels_last_3d),
    Variant("compiled", compiled=True),
)
"""The first is the default of ``spinemamba train``; the last takes minutes to compile."""


@contextmanager
def _measured_trainer(
    plan: Plan, variant: Variant, cases: tuple[list, list[float]]
) -> Iterator[Trainer]:
    """Yield a training whose patches are drawn by workers."""
    options = TrainOptions(
        minutes=None,
        steps=100_000,
        loss=LossWeights(level=LEVEL_WEIGHT["fine"]),
        precision=training_precision(variant.precision, plan.device),
        order="numbered",
        patch=PatchOptions(plan.network.patch_vox, spacing_mm=SPACING_MM["fine"]),
    )
    execution = Execution(plan.device, compiled=variant.compiled, workers=plan.workers)
    trainer = Trainer(plan.network, *cases, options, execution)
    trainer.network.to(memory_format=variant.layout)
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(plan.device)
    assert isinstance(trainer.feed, NumberedFeed)
    with trainer.feed.in_workers(plan.workers, plan.device), _layout(trainer, variant.layout):
        yield trainer


@contextmanager
def _layout(trainer: Trainer, layout: torch.memory_format) -> Iterator[None]:
    """Convert every image to a memory layout."""

    def convert(module: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(image.contiguous(memory_format=layout) for image in images)

    hook = trainer.network.register_forward_pre_hook(convert)
    try:
        yield
    finally:
        hook.remove()


def _steps(trainer: Trainer, count: int, plan: Plan) -> tuple[str, ...]:
    """Return the number of steps, seconds per step, share of waiting, last loss, and memory."""
    for _ in range(_WARM_UP_STEPS):
        trainer.learn()
    _wait(plan.device)
    started, waiting = time.perf_counter(), []
    for _ in range(count):
        parts = trainer.learn()
        waiting.append(trainer.waiting)
    _wait(plan.device)
    seconds = (time.perf_counter() - started) / count
    memory = ""
    if plan.device.type == "cuda":
        memory = f"{torch.cuda.max_memory_allocated(plan.device) / 1e9:.1f} GB"
    shares = f"{100 * float(np.mean(waiting)):.0f} %"
    return str(count), f"{seconds:.3f}", shares, f"{sum(parts.values()):.2f}", memory
