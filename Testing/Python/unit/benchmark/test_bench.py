"""Speed measurements of scans and networks, and the ``bench`` command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spinemamba.benchmark import networks, scan_orders, scans, whole_case
from spinemamba.benchmark.machine import machine
from spinemamba.benchmark.networks import configurations, measure_networks
from spinemamba.benchmark.scans import Size
from spinemamba.cli import bench
from spinemamba.cli.main import main
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.model import LoadedNetwork
from spinemamba.network.config import NetworkConfig
from spinemamba.selective_scan.dispatch import choose_backend

SMALL = Size(64, 16, 4)


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread: for steps this small, more threads are slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_best_of_several_times_is_reported():
    times = iter([0.0, 5.0, 10.0, 12.0, 20.0, 29.0])
    assert scans.least_seconds(lambda: None, 3, lambda: next(times)) == 2.0


def test_every_working_back_end_is_compared_with_the_loop():
    before = torch.get_num_threads()
    rows = list(scans.measure_scans([SMALL], 1))
    assert [row.backend for row in rows] == scans.working_backends()
    assert all(row.forward_s > 0 and row.backward_ratio > 0 for row in rows)
    # A scan that stored all states would have a share of 1 or more.
    assert all(row.largest_share < 0.9 for row in rows)
    assert torch.get_num_threads() == before


def test_errors_at_the_largest_steps_stay_within_their_bounds():
    rows = {row.backend: row for row in scans.measure_errors(Size(100, 16, 8))}
    assert set(rows) == {*scans.working_backends(), "reference"}
    for row in rows.values():
        assert row.value < 5e-7
        assert row.gradient < 1e-5


def test_the_parts_of_a_network_add_up_to_the_whole():
    small = NetworkConfig(
        (32, 32, 32), channels=(16, 16), encoder_rvm=(0, 1), decoder_rvm=(0,), vsp_stages=(0,)
    )
    row = next(measure_networks({"small": small}, 1))
    parts = (row.conv_s, row.scan_s, row.rest_of_rvm_s, row.rest_s)
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(row.total_s)
    assert 0 < row.rvm_share < 1


def test_a_quick_run_leaves_out_the_large_network():
    assert set(configurations(True)) < set(configurations(False))
    assert {"base, raster", "base, tri"} <= set(configurations(False))


@pytest.fixture
def small_image(tmp_path: Path) -> Path:
    """Return a noise-free ramp that takes eight windows at half a window's overlap."""
    path = tmp_path / "ct.nii.gz"
    shape = (72, 72, 72)
    grid = Geometry(shape, (1.5, 1.5, 1.5), (0.0, 0.0, 0.0), np.eye(3))
    image = np.arange(72**3, dtype=np.uint8).reshape(shape)
    write_labels(Volume(image, grid), path, [])
    return path


def test_the_loop_is_extrapolated_from_one_window(monkeypatch: pytest.MonkeyPatch, small_image):
    monkeypatch.setattr(whole_case, "segment", lambda volume, model: Done())
    clock = iter([0.0, 2.0, 10.0, 13.0])  # the pipeline takes 2 s, one window 3 s
    monkeypatch.setattr(whole_case.time, "process_time", lambda: next(clock))
    row = whole_case.measure_case(small_image)
    assert (row.slow.windows, row.slow.windows_run) == (8, 1)
    assert row.slow.cpu_s == 24.0
    assert row.ratio == 12.0
    assert row.slow.wall_s is row.wall_ratio is None


def test_the_loop_can_run_every_window(monkeypatch: pytest.MonkeyPatch, small_image):
    monkeypatch.setattr(whole_case, "segment", lambda volume, model: Done())
    backends = []

    def logits(model, patch):
        backends.append(choose_backend("cpu"))
        return torch.zeros(1, model.network.config.outputs, *patch.shape[2:])

    monkeypatch.setattr(LoadedNetwork, "logits", logits)
    row = whole_case.measure_case(small_image, slide=True)
    assert backends == ["reference"] * 8
    assert row.slow.windows == row.slow.windows_run == 8
    assert row.wall_ratio == pytest.approx(row.slow.wall_s / row.wall_s)


@pytest.mark.parametrize(
    "order", [order for three in scan_orders.COMPARED.values() for order in three]
)
def test_copies_by_token_index_equal_permuted_views(order):
    grid = (2, 3, 4)
    tokens = torch.arange(48.0).reshape(1, 24, 2)
    by_number = scan_orders.indexed(order, grid)
    arranged = by_number.arrange(tokens, grid)
    assert torch.equal(arranged, order.arrange(tokens, grid))
    assert torch.equal(by_number.restore(arranged, grid), tokens)


def test_one_call_is_compared_with_both_kinds_of_copies():
    rows = scan_orders.measure_fusion(4, 16, 1)
    assert [row.orders for row in rows] in ([], list(scan_orders.COMPARED))
    assert all(ratio > 0 for row in rows for ratio in row.ratios)


class Done:
    """A run with a duration of zero."""

    result = SimpleNamespace(seconds={"locate": 0.0})


def test_the_machine_is_described_without_host_or_folder_names():
    text = json.dumps(machine())
    assert "processor" in text
    assert str(Path.home()) not in text
    assert __import__("socket").gethostname() not in text


def test_the_command_prints_tables_and_writes_json(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "QUICK", ((64, 16, 4),))
    monkeypatch.setattr(bench, "FUSION_SIDE", 4)
    monkeypatch.setattr(networks, "configurations", lambda quick: {})
    monkeypatch.setattr(scan_orders, "measure_tied", lambda size, repeats: {})
    monkeypatch.setattr(scan_orders, "measure_threads", lambda size, repeats: {})
    path = tmp_path / "bench.json"
    assert main(["bench", "--quick", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "torch-chunked" in out
    report = json.loads(path.read_text())
    assert {"machine", "backend", "scans", "errors"} <= set(report)
