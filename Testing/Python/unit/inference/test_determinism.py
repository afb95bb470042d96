"""The same image gives the same labels with every back end and number of threads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scan_inputs import HERE

from spinemamba.common.progress import ignore
from spinemamba.inference import predict as predicting
from spinemamba.inference.model import Model, load_model
from spinemamba.inference.predict import Prediction, predict
from spinemamba.inference.sliding_window import window_boxes
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.selective_scan.dispatch import NATIVE, forced_backend


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(find_model(DEFAULT), "cpu", "float32")


@pytest.fixture
def thread_count():
    threads = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(threads)


def labels(model: Model) -> list[torch.Tensor]:
    """Return the most likely class of each voxel of a smooth random image, for both networks."""
    classes = []
    for network in (model.coarse, model.fine):
        coarse = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))
        image = torch.nn.functional.interpolate(coarse, network.patch_vox, mode="trilinear")
        classes.append(network.logits(image).argmax(dim=1))
    return classes


NAMES = [NATIVE + variant for variant in HERE] or ["torch-chunked"]
"""Back ends, the fastest first."""


@pytest.mark.parametrize(
    ("name", "threads"),
    # The fastest with two threads: the small steps of plain torch wait long for a busy core.
    [(NAMES[0], 2), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in NAMES)],
)
def test_every_back_end_and_number_of_threads_gives_the_same_labels(
    model, thread_count, name, threads
):
    thread_count(1)
    with forced_backend("cpu", "torch-chunked"):
        expected = labels(model)
    assert all(len(one.unique()) > 2 for one in expected)
    thread_count(threads)
    with forced_backend("cpu", name):
        found = labels(model)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def tensors(prediction: Prediction) -> list[torch.Tensor]:
    return [prediction.bone, prediction.core, prediction.levels, prediction.offsets_mm]


def test_the_order_of_the_windows_does_not_change_a_bit(model: Model):
    shape = (96, 80, 64)
    tall = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    boxes = window_boxes(shape, model.fine.patch_vox, 0.2)
    assert len(boxes) == 4  # more than two overlap in the middle: a sum of two has no order
    noisy = replace(model.fine, network=Noisy(model.fine.network.config))
    forwards = predict(noisy, tall, boxes, ignore, "segment")
    backwards = predict(noisy, tall, boxes[::-1], ignore, "segment")
    for a, b in zip(tensors(forwards), tensors(backwards), strict=True):
        assert torch.equal(a, b)


def test_the_position_in_a_batch_does_not_change_labels(model: Model):
    coarse = model.coarse
    generator = torch.Generator().manual_seed(2)
    patches = torch.randn(2, 1, *coarse.patch_vox, generator=generator)
    one_by_one = torch.cat([coarse.logits(patch[None]) for patch in patches])
    together, swapped = coarse.logits(patches), coarse.logits(patches.flip(0)).flip(0)
    for other in (together, swapped):
        assert torch.equal(other.argmax(dim=1), one_by_one.argmax(dim=1))


def test_the_logits_of_a_whole_volume_are_never_in_memory(model: Model, monkeypatch):
    shape = (64 * 4, 64, 64)
    sizes = []
    zeros = torch.zeros

    def noted(*size, **options):
        out = zeros(*size, **options)
        sizes.append(out.numel() * out.element_size())
        return out

    monkeypatch.setattr(predicting.torch, "zeros", noted)
    blank = replace(model.fine, network=Blank(model.fine.network.config))
    boxes = window_boxes(shape, model.fine.patch_vox, 0.0)
    predict(blank, torch.empty(shape), boxes, ignore, "segment")
    logits = 4 * model.fine.network.config.outputs * shape[0] * shape[1] * shape[2]
    assert max(sizes) < logits / 2


class Blank(torch.nn.Module):
    """A network that returns uninitialised memory without computing."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.empty(1, self.config.outputs, *image.shape[2:])


class Noisy(Blank):
    """A network whose output uses every bit and depends on the position in the window."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = (1, self.config.outputs, *image.shape[2:])
        return torch.randn(size, generator=torch.Generator().manual_seed(4)) * image.exp()
