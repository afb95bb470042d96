"""The report about this computer."""

from __future__ import annotations

import json

import pytest

from spinemamba.inference import probe


def test_the_report_is_json_and_names_the_working_back_end():
    facts = json.loads(json.dumps(probe.probe()))
    cpu = facts["devices"][0]
    assert cpu["device"] == "cpu"
    assert cpu["scan_backends"][cpu["scan"].split()[0]] == "ok"
    assert cpu["precision"] in ("float32", "bfloat16")
    assert cpu["scan_backends"]["mamba-ssm"] == "needs an NVIDIA GPU"
    assert isinstance(facts["mamba_ssm"], bool)
    assert facts["models"]


def test_available_memory_is_at_most_total_memory():
    memory = probe.memory_gb()
    if memory is None or "available" not in memory:
        pytest.skip("this system does not report its available memory")
    assert 0 < memory["available"] <= memory["total"]


def test_a_gpu_that_raises_an_error_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    def refuse(k: int) -> None:
        raise RuntimeError("CUDA error: busy\nCompile with more flags.")

    monkeypatch.setattr(probe.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(probe.torch.cuda, "get_device_name", lambda k: "Card")
    monkeypatch.setattr(probe.torch.cuda, "mem_get_info", refuse)
    monkeypatch.setattr(probe, "describe_backend", lambda kind: "chunked")
    monkeypatch.setattr(probe, "available_backends", lambda kind: {})
    monkeypatch.setattr(probe, "choose_precision", lambda *words: "float32")
    gpu = probe.devices()[1]
    assert (gpu["device"], gpu["name"], gpu["error"]) == ("cuda:0", "Card", "CUDA error: busy")
