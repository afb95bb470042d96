"""Devices, precision, batches and processes of a training, as far as they need no GPU."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_train_command
import torch
from tiny_training import CONFIG, lumbar_case, trainer
from torch import nn

from spinemamba.common.errors import Code, UserError
from spinemamba.network.config import BASE
from spinemamba.network.unet import SpineMambaNet
from spinemamba.selective_scan.dispatch import forced_backend
from spinemamba.training.checkpoint import load_checkpoint
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.execution import ONE_CPU, Execution, joined_processes, training_precision
from spinemamba.training.feed import on_device
from spinemamba.training.loop import Trainer
from spinemamba.training.loss import LossWeights, Targets, patch_mean_loss, spine_loss
from spinemamba.training.steps import update_average
from spinemamba.training.synthesis.paint import paint

META = Execution(torch.device("meta"))
RICH = replace(CONFIG, offsets=True, detail_channels=16)


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


def weights(one: Trainer) -> list[torch.Tensor]:
    return [*one.network.state_dict().values(), *one.average.values()]


def plain_training(case: Case, steps: int) -> list[torch.Tensor]:
    """Return network and averaged weights after a loop with nothing but torch's own parts."""
    torch.manual_seed(0)
    network = SpineMambaNet(RICH)
    average = {k: v.clone() for k, v in network.state_dict().items()}
    plain = ("decay_log", "skip", "skip_scale", "prior", "class_bias")
    groups = {True: [], False: []}
    for name, parameter in network.named_parameters():
        groups[parameter.ndim < 2 or name.rpartition(".")[2] in plain].append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": groups[False], "weight_decay": 1e-4},
            {"params": groups[True], "weight_decay": 0.0},
        ],
        lr=0.0,
    )
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        done = step / 1000
        rate = 1e-3 * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.multinomial(torch.tensor([1.0]), 1, generator=generator)
        patch = draw_patch(case, PatchOptions(RICH.patch_vox), generator)
        image = paint(patch, generator)
        logits = network(image[None, None])
        targets = Targets(patch.target, patch.bone, patch.core, patch.offset).each(
            lambda t: t[None]
        )
        loss, _ = spine_loss(logits.float(), targets, LossWeights(level=0.5))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        for name, value in network.state_dict().items():
            average[name].lerp_(value.detach(), 1 - min(0.998, (2 + step) / (11 + step)))
    return [*network.state_dict().values(), *average.values()]


def test_training_on_the_cpu_equals_a_plain_loop_bit_for_bit(case: Case):
    one = trainer(case, RICH, minutes=None)
    for _ in range(4):
        one.learn()
    assert all(map(torch.equal, weights(one), plain_training(case, 4)))


def test_the_loss_of_a_batch_is_the_mean_over_its_patches(case: Case):
    one = trainer(case, order="numbered", batch_size=3)
    image, targets = one.draw()
    logits = torch.randn(3, 27, *CONFIG.patch_vox, generator=torch.Generator().manual_seed(1))
    total, parts = patch_mean_loss(logits, targets, LossWeights(level=0.7))
    single = [
        spine_loss(
            logits[k : k + 1],
            Targets(**{name: value[k : k + 1] for name, value in vars(targets).items()}),
            LossWeights(level=0.7),
        )
        for k in range(len(image))
    ]
    assert total.item() == pytest.approx(sum(loss.item() for loss, _ in single) / 3, rel=1e-6)
    assert parts["bone"] == pytest.approx(sum(p["bone"] for _, p in single) / 3, rel=1e-6)


TOLERANCE = 2e-6
"""Largest difference of weights after three steps. Gradients are summed in another order, which
changes their last bits; the first steps of the warm-up change a weight by 6e-5 at most."""


def largest_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def test_accumulated_batches_give_the_step_of_a_large_batch(case: Case):
    trainings = [
        trainer(case, order="numbered", batch_size=size, accumulate=parts)
        for size, parts in ((4, 1), (2, 2), (1, 4))
    ]
    for one in trainings:
        for _ in range(3):
            one.learn()
    for one in trainings[1:]:
        assert largest_difference(weights(trainings[0]), weights(one)) < TOLERANCE


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(words: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(tiny_train_command.__file__)), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def test_two_processes_learn_what_one_learns_from_twice_the_batch(tmp_path: Path):
    def words(out: str, size: int) -> list[str]:
        # The precision is that of all processors, and the minutes are not limited.
        every = ["coarse", "--out", str(tmp_path / out), "--phantoms", "1", "--steps", "3"]
        return [*every, "--batch-size", str(size), "--precision", "float32", "--device", "cpu"]

    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        start(words("two", 1), RANK=rank, LOCAL_RANK=rank, **address) for rank in ("0", "1")
    ]
    # Patches that one process draws in workers have numbers, as those of several processes.
    processes.append(start([*words("one", 2), "--workers", "1"]))
    texts = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], texts
    assert "saved at step 3 of 3" in texts[0]
    assert texts[1] == ""  # only the first process reports
    two, one = load_checkpoint(tmp_path / "two"), load_checkpoint(tmp_path / "one")
    assert two["order"] == one["order"] == "numbered"
    for part in ("network", "average"):
        difference = largest_difference(list(two[part].values()), list(one[part].values()))
        assert difference < TOLERANCE, part


def test_a_training_with_one_sequence_of_patches_is_not_divided(case: Case):
    several = replace(ONE_CPU, processes=2)
    options = trainer(case).options
    with pytest.raises(UserError, match="one sequence of random numbers"):
        Trainer(CONFIG, [case], [1.0], options, several)


def test_network_and_gradients_are_on_the_device_of_the_training(case: Case):
    options = replace(trainer(case).options, order="numbered", batch_size=2)
    one = Trainer(RICH, [case], [1.0], options, META)
    batch = on_device(one.draw(), META.device)
    logits = one.network(batch[0])
    assert logits.shape == (2, 30, *RICH.patch_vox)
    logits.sum().backward()
    one.optimizer.step()
    update_average(one.average, one.network, 0.9, 1)
    state = one.optimizer.state_dict()["state"].values()
    moments = [moment for each in state for moment in each.values() if moment.ndim]
    every = [*weights(one), *moments, *vars(batch[1]).values()]
    every += [parameter.grad for parameter in one.network.parameters()]
    assert {tensor.device.type for tensor in every} == {"meta"}


def test_the_network_of_the_paper_has_logits_for_every_voxel_of_a_batch():
    with torch.device("meta"):
        network = SpineMambaNet(BASE)
        assert network(torch.empty(2, 1, *BASE.patch_vox)).shape == (2, 30, *BASE.patch_vox)


def test_a_step_needs_no_tensor_on_the_default_device(case: Case):
    """A tensor that is created without a device would be on the CPU, beside those on the GPU."""
    expected, one = (trainer(case, RICH, batch_size=2) for _ in range(2))
    batch = one.draw()
    for training in (expected, one):
        training.draw = lambda: batch
    with forced_backend("cpu", "torch-chunked"):  # the back end that runs on every device
        parts = [expected.learn() for _ in range(2)]
        with torch.device("meta"):
            assert [one.learn() for _ in range(2)] == parts
    assert all(map(torch.equal, weights(one), weights(expected)))


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_a_network_on_another_device_starts_from_a_model_without_offsets(case: Case):
    card = SimpleNamespace(data=(), name="first", version="1")
    model = SimpleNamespace(card=card, coarse=SimpleNamespace(network=trainer(case).network))
    other = Trainer(RICH, [case], [1.0], trainer(case).options, META)
    other.start_from(model, "coarse")
    assert {value.device.type for value in weights(other)} == {"meta"}


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_a_checkpoint_continues_on_another_device(case: Case, tmp_path: Path):
    one = trainer(case)
    one.learn()
    one.save(tmp_path)
    other = Trainer(CONFIG, [case], [1.0], one.options, META)
    assert other.resume(tmp_path)
    assert {value.device.type for value in weights(other)} == {"meta"}
    assert other.step == 1


def test_a_gradient_that_overflows_in_float16_halves_the_scale(case: Case):
    one = trainer(case, precision="float16")
    one.learn()
    before, scale = [value.clone() for value in weights(one)], one.scaler.get_scale()
    hook = one.network.head.bias.register_hook(lambda gradient: gradient * torch.inf)
    one.learn()
    assert one.scaler.get_scale() == scale / 2
    assert all(map(torch.equal, one.network.state_dict().values(), before))
    assert one.step == 2
    one.scaler.update(0.5)
    with pytest.raises(UserError, match="not finite at step 3"):
        one.learn()
    hook.remove()


PRECISIONS = [
    ("auto", "cuda", True, "bfloat16"),
    ("auto", "cuda", False, "float16"),
    ("auto", "cpu", True, "bfloat16"),
    ("auto", "cpu", False, "float32"),
    ("float32", "cuda", True, "float32"),
    ("float16", "cuda", True, "float16"),
    ("float16", "cpu", True, None),
    ("bfloat16", "cuda", False, None),
]


@pytest.mark.parametrize(("requested", "device", "has_bfloat16", "chosen"), PRECISIONS)
def test_the_precision_is_the_best_that_the_device_has(
    requested: str, device: str, has_bfloat16: bool, chosen: str | None, monkeypatch
):
    where = "spinemamba.training.execution.has_bfloat16"
    monkeypatch.setattr(where, lambda device: has_bfloat16)
    if chosen is not None:
        assert training_precision(requested, torch.device(device)) == chosen
        return
    with pytest.raises(UserError, match=f"does not calculate fast in {requested}"):
        training_precision(requested, torch.device(device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_does_not_exist_is_refused():
    for name in ("cuda", "cuda:3"):
        with pytest.raises(UserError) as caught, joined_processes(name, compiled=False):
            pytest.fail("it has begun")
        assert caught.value.code == Code.NO_GPU
    with joined_processes("auto", compiled=False) as execution:
        assert execution == ONE_CPU


def test_one_gpu_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("spinemamba.training.execution.pick_device", str)
    with (
        pytest.raises(UserError, match="names one GPU"),
        joined_processes("cuda:1", compiled=False),
    ):
        pytest.fail("it has begun")


@pytest.mark.long
def test_a_compiled_network_learns_the_same(case: Case):
    plain, one = trainer(case), trainer(case)
    compiled = Trainer(CONFIG, [case], [1.0], one.options, replace(ONE_CPU, compiled=True))
    expected = plain.learn()
    for name, value in compiled.learn().items():
        assert value == pytest.approx(expected[name], rel=1e-4), name
    assert compiled.network.state_dict().keys() == plain.network.state_dict().keys()


@pytest.mark.gpu
def test_a_step_on_a_gpu_is_that_on_the_cpu(case: Case):
    options = replace(trainer(case).options, order="numbered", batch_size=2)
    gpu = Execution(torch.device("cuda", 0))
    losses = [
        Trainer(RICH, [case], [1.0], options, execution).learn() for execution in (ONE_CPU, gpu)
    ]
    for name, value in losses[0].items():
        assert losses[1][name] == pytest.approx(value, rel=1e-3), name
