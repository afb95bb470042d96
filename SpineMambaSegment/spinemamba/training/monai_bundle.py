"""Write a network of a model as a MONAI bundle, for software that reads those.

A bundle holds one network: its weights, its definition, and a workflow that runs it over images.
What this package does with the outputs of its two networks, such as the separation and the naming
of vertebrae, is not a part of it.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.intensity import CT_WINDOW_HU
from spinemamba.inference.fine import FineOptions
from spinemamba.inference.model import load_model
from spinemamba.network.config import CORE, NetworkConfig
from spinemamba.protocol.model_card import ModelCard, NetworkCard

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)

_PACKAGES = {"monai": "1.3.0", "nibabel": "5.0.0", "pytorch-ignite": "0.4.11", "fire": "0.5.0"}
"""Packages that the workflow needs, with the versions to state where they are not installed."""

INFERENCE = "configs/inference.json"

_METADATA, _WEIGHTS = "configs/metadata.json", "models/model.pt"
_README, _LICENCE = "docs/README.md", "LICENSE"

_SIGMA_SCALE = 0.125
"""Sigma of the weights of a window, as in `sliding_window.importance_map`."""

_NORMALISED = (-1.0, 1.0)
"""Range of a normalised CT."""


def export_bundle(model: Path, folder: Path, network: str = "fine") -> ModelCard:
    """Write a MONAI bundle, completely or not at all.

    Args:
        model: Folder of the model.
        folder: Folder of the bundle; it must not exist.
        network: "coarse" or "fine".

    Returns:
        The card of the model.

    Raises:
        UserError: If the folder exists or cannot be written (OUTPUT_BAD, DISK_FULL), the model is
            invalid (MODEL_BAD, MODEL_MISSING), or it is for MR alone (INPUT_BAD).
    """
    if folder.exists():
        raise UserError(f"{folder} exists already.", "Choose another folder.", Code.OUTPUT_BAD)
    loaded = load_model(model, precision="float32")
    card, entry = loaded.card, loaded.card.networks[network]
    if "ct_window_hu" not in card.normalisation:
        raise UserError(
            f"The model {card.name} is for MR divided by its local mean, for which MONAI has no "
            "transform.",
            "Choose a model for CT.",
        )
    texts = {
        _METADATA: _json(_metadata(card, entry, network)),
        INFERENCE: _json(_inference(entry)),
        _README: _readme(card, entry, network),
        _LICENCE: _licence(card),
    }
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, text in texts.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(text, encoding="utf-8", newline="\n")
        (partial / _WEIGHTS).parent.mkdir()
        torch.save(getattr(loaded, network).network.state_dict(), partial / _WEIGHTS)
        partial.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _version(package: str) -> str:
    """Return the installed version of a package, or the least one that the workflow needs."""
    try:
        return version(package)
    except PackageNotFoundError:
        return _PACKAGES[package]


def _config(entry: NetworkCard) -> NetworkConfig:
    return NetworkConfig.from_json(entry.config)


def _channels(config: NetworkConfig) -> dict[str, str]:
    """Return the meaning of each output channel."""
    names = ["background", *NETWORK_LEVELS, "core of a vertebral body, logit"]
    if config.offsets:
        names += [f"offset to the centre of the core along {axis}" for axis in "zyx"]
    return {str(number): name for number, name in enumerate(names)}


def _metadata(card: ModelCard, entry: NetworkCard, network: str) -> dict[str, Any]:
    """Return the content of metadata.json."""
    packages = {name: _version(name) for name in ("nibabel", "pytorch-ignite", "fire")}
    return {
        "schema": _SCHEMA,
        "version": card.version,
        "changelog": {card.version: f"the {network} network of the model {card.name}"},
        "monai_version": _version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"spinemamba": __version__, **packages},
        "name": f"SpineMamba {card.name} ({network})",
        "task": "Segmentation of vertebrae in CT",
        "description": (
            f"The {network} network of the model {card.name}: bone, levels and body cores of "
            f"vertebrae at {entry.spacing_mm:g} mm. Vertebrae are separated and named by the "
            "package spinemamba, not by this bundle."
        ),
        "authors": "SpineMamba Segment",
        "copyright": f"See {_LICENCE}",
        "data_source": " ".join(card.data),
        "intended_use": card.intended_use,
        "network_data_format": _data_format(_config(entry)),
    }


def _data_format(config: NetworkConfig) -> dict[str, Any]:
    """Return the description of the input and of the output of the network."""
    shape = list(config.patch_vox)
    common = {
        "type": "image",
        "modality": "CT",
        "spatial_shape": shape,
        "dtype": "float32",
        "is_patch_data": True,
    }
    image = {
        "format": "hounsfield",
        "num_channels": 1,
        "value_range": list(_NORMALISED),
        "channel_def": {"0": "image"},
    }
    pred = {
        "format": "raw",
        "num_channels": config.outputs,
        "value_range": [],
        "channel_def": _channels(config),
    }
    return {"inputs": {"image": common | image}, "outputs": {"pred": common | pred}}


def _inference(entry: NetworkCard) -> dict[str, Any]:
    """Return the content of inference.json: the workflow from images to label maps."""
    config = _config(entry)
    return {
        "imports": ["$import glob", "$import os", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": _network_def(config),
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(entry)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': path} for path in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": _inferer(config),
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing()},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "checkpoint": f"$@bundle_root + '/{_WEIGHTS}'",
        "initialize": [
            "$@network.load_state_dict("
            "torch.load(@checkpoint, map_location=@device, weights_only=True))"
        ],
        "run": ["$@evaluator.run()"],
    }


def _preprocessing(entry: NetworkCard) -> list[dict[str, Any]]:
    """Return the steps from a file to the input of the network.

    The array gets the axes z, y, x as in this package, towards superior, posterior and left.
    """
    (low, high), (least, most) = CT_WINDOW_HU, _NORMALISED
    scale = {"a_min": low, "a_max": high, "b_min": least, "b_max": most, "clip": True}
    spacing = {"pixdim": [entry.spacing_mm] * 3, "mode": "bilinear"}
    return [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "SPL"},
        {"_target_": "Spacingd", "keys": "image", **spacing},
        {"_target_": "ScaleIntensityRanged", "keys": "image", **scale},
    ]


def _network_def(config: NetworkConfig) -> dict[str, Any]:
    """Return the definition of the network, for which the package must be installed."""
    values = {
        "_target_": "spinemamba.network.config.NetworkConfig.from_json",
        "values": config.to_json(),
    }
    return {"_target_": "spinemamba.network.build.network_of", "config": values}


def _inferer(config: NetworkConfig) -> dict[str, Any]:
    """Return the sliding window, with the overlap and the weights of this package."""
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(config.patch_vox),
        "sw_batch_size": 1,
        "overlap": FineOptions().window_overlap,
        "mode": "gaussian",
        "sigma_scale": _SIGMA_SCALE,
        "cval": _NORMALISED[0],
    }


def _postprocessing() -> list[dict[str, Any]]:
    """Return the steps from the logits to a label map with VerSe's values on the grid of a file."""
    return [
        {
            "_target_": "Lambdad",
            "keys": "pred",
            "func": f"$lambda logits: logits[:{CORE}].argmax(dim=0, keepdim=True)",
        },
        {
            "_target_": "MapLabelValued",
            "keys": "pred",
            "orig_labels": list(range(CORE)),
            "target_labels": [0, *(BY_NAME[name].value for name in NETWORK_LEVELS)],
        },
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": True,
            "to_tensor": True,
        },
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "levels",
            "output_dtype": "$numpy.uint8",
            "separate_folder": False,
        },
    ]


def _licence(card: ModelCard) -> str:
    """Return the licence of the weights, with the sources of the data."""
    lines = [
        f"SPDX-License-Identifier: {card.licence}",
        "",
        f"The weights in this bundle are those of the model {card.name} {card.version}.",
        f"Their licence is {card.licence}: https://spdx.org/licenses/{card.licence}.html",
        "They were trained on:",
        "",
        *(f"- {source}" for source in card.data),
    ]
    return "\n".join(lines) + "\n"


def _readme(card: ModelCard, entry: NetworkCard, network: str) -> str:
    """Return the description of the bundle."""
    z, y, x = _config(entry).patch_vox
    return f"""# SpineMamba {card.name} {card.version}, {network} network

{card.intended_use}

The network maps a patch of {z} x {y} x {x} voxels (z, y, x) at {entry.spacing_mm:g} mm to logits of
background, {len(NETWORK_LEVELS)} levels and body cores; `configs/metadata.json` lists the channels.
It is defined in the Python package `spinemamba`, which must be installed. The weights are a state
dictionary that torch loads with `weights_only=True`. There is no TorchScript file: the scan of
Mamba runs in code that is not a part of torch.

    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
      --dataset_dir IMAGES --output_dir LABELS

This reads CT in Hounsfield units (`*.nii.gz`) and writes label maps with VerSe's values. Each voxel
gets its likeliest level. `spinemamba segment` does more: it finds the spine with a second network,
separates the vertebrae, and names them along the spine. Its results are better than these.

Licence of the weights: {card.licence}, see `{_LICENCE}`.
"""
