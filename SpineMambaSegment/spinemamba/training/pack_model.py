"""Pack trainings into a model: averaged weights and the model card."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.intensity import LOCAL_MEAN, NORMALISATION, uses_local_mean
from spinemamba.imaging.vertebra_crops import CROP_MM
from spinemamba.inference.model import checked_weights, save_weights
from spinemamba.inference.weight_storage import from_stored
from spinemamba.protocol.model_card import (
    CARD,
    LEVELS,
    ModelCard,
    NetworkCard,
    find_model,
    read_card,
)
from spinemamba.training.architectures import SPACING_MM
from spinemamba.training.checkpoint import load_checkpoint
from spinemamba.training.data.origin import merged
from spinemamba.training.data.tensors import load_tensors
from spinemamba.training.folder import BEST, METADATA, read_metadata
from spinemamba.training.levels.folder import RECORD, read_record
from spinemamba.training.recipe import RECIPE, RECIPE_FILE, read_recipe

_OPEN = "Apache-2.0"
_SHARE_ALIKE = "CC-BY-SA-4.0"
"""Licence of weights that were trained on VerSe: the licence of VerSe."""

_WEIGHTS = ".safetensors"

_Packing = Callable[[str, Path, Path], tuple[NetworkCard, tuple[str, ...]]]

_INTENDED_USE = (
    "Research and demonstration: a first segmentation of vertebrae in CT that a person reviews. "
    "Not for clinical use. MR is experimental."
)
_INTENDED_USE_MR = (
    "Research and demonstration: a first segmentation of vertebrae in sagittal MR that a person "
    "reviews. Not for clinical use."
)


def pack_model(
    coarse: Path,
    fine: Path,
    folder: Path,
    *,
    name: str,
    version: str,
    levels: Path | None = None,
    compact: Collection[str] = (),
    best: bool = False,
    overwrite: bool = False,
) -> ModelCard:
    """Write a model from the checkpoints of its networks, completely or not at all.

    Args:
        coarse: Folder of the coarse network's training, or a model whose coarse network is kept.
        fine: The same for the fine network.
        folder: Folder of the model; created if missing.
        name: Name of the model.
        version: Version of the weights.
        levels: The same for the level network; None for a model without one.
        compact: Networks whose convolutions are stored in eight bits; see `to_stored`.
        best: Whether the weights of the best validation are taken instead of the last ones.
        overwrite: Whether an existing model is replaced.

    Returns:
        The card; its results are empty.

    Raises:
        UserError: If a training has no checkpoint (MODEL_MISSING), or the model exists already or
            cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    sources = {"coarse": coarse, "fine": fine} | ({LEVELS: levels} if levels else {})
    weights = {kind: folder / f"{kind}{_WEIGHTS}" for kind in sources}
    outputs = [*weights.values(), folder / CARD]
    for path in outputs:
        check_place(path, overwrite=overwrite)
    networks: dict[str, NetworkCard] = {}
    local: dict[str, bool] = {}
    data: tuple[str, ...] = ()
    with all_or_none(outputs, overwrite=overwrite) as part:
        for kind, source in sources.items():
            pack = _packing(kind, source, best)
            entry, attributions = pack(kind, source, part[weights[kind]])
            if kind in compact:
                entry = _compacted(part[weights[kind]], entry)
            networks[kind] = replace(entry, file=weights[kind].name)
            local[kind] = kind != LEVELS and _uses_local_mean(source, entry)
            data = merged(data, attributions)
        card = _card((name, version), networks, data, _normalisation(local))
        part[folder / CARD].write_text(card.text(), encoding="utf-8")
    return card


def _compacted(path: Path, entry: NetworkCard) -> NetworkCard:
    """Store the weights in a file in eight bits instead; return the card with their hash."""
    digest = save_weights(from_stored(load_file(path)), path, compact=True)
    return replace(entry, sha256=digest)


def _packing(kind: str, source: Path, best: bool) -> _Packing:
    """Return how a network is packed: from its training, or from a model."""
    if kind == LEVELS:
        return _pack_level_training if (source / RECORD).is_file() else _keep_network
    if (source / METADATA).is_file():
        return partial(_pack_training, best=best)
    return _keep_network


def _card(
    called: tuple[str, str],
    networks: dict[str, NetworkCard],
    data: tuple[str, ...],
    normalisation: dict[str, Any],
) -> ModelCard:
    return ModelCard(
        name=called[0],
        version=called[1],
        networks=networks,
        labels=NETWORK_LEVELS,
        normalisation=normalisation,
        data=data,
        licence=_SHARE_ALIKE if any("BY-SA" in source for source in data) else _OPEN,
        results={},
        intended_use=_INTENDED_USE_MR if "mr_local_mean_mm" in normalisation else _INTENDED_USE,
    )


def _normalisation(local: dict[str, bool]) -> dict[str, Any]:
    """Return how images are normalised, given which networks learned MR by its local mean.

    Raises:
        UserError: If only one of the two networks of voxels did (INPUT_BAD).
    """
    if local["coarse"] != local["fine"]:
        one = "coarse" if local["coarse"] else "fine"
        raise UserError(
            f"Only the {one} network was trained with MR divided by its local mean.",
            "Train both networks with --contrast mr, or neither.",
        )
    return dict(LOCAL_MEAN) if local["coarse"] else dict(NORMALISATION)


def _uses_local_mean(source: Path, entry: NetworkCard) -> bool:
    """Return whether a network learned MR divided by its local mean."""
    if (source / METADATA).is_file():
        appearance = entry.training.get("recipe", {}).get("appearance", {})
        return float(appearance.get("local_mean", 0)) >= 1
    return uses_local_mean(read_card(find_model(str(source))).normalisation)


def _keep_network(kind: str, source: Path, path: Path) -> tuple[NetworkCard, tuple[str, ...]]:
    """Copy one network of a model after a check; return its card and its data sources."""
    try:
        model = find_model(str(source))
    except UserError as error:
        raise UserError(
            f"{source} is neither a training of the {kind} network nor a model.",
            f"Run 'spinemamba train {kind} --out {source}' first, or give a model.",
            Code.MODEL_MISSING,
        ) from error
    card = read_card(model)
    if kind not in card.networks:
        raise UserError(
            f"The model {card.name} has no network '{kind}'.",
            "Choose another model, or the folder of a training of this network.",
            Code.MODEL_MISSING,
        )
    entry = card.networks[kind]
    path.write_bytes(checked_weights(model, entry).read_bytes())
    return entry, card.data


def _pack_training(
    kind: str, source: Path, path: Path, *, best: bool
) -> tuple[NetworkCard, tuple[str, ...]]:
    """Write the averaged weights of a training; return their card and their data sources.

    Raises:
        UserError: If the best weights are asked for and the training was never validated
            (MODEL_MISSING).
    """
    metadata = read_metadata(source, kind)
    state = load_checkpoint(source)
    weights, steps, validated = state["average"], state["step"], {}
    if best:
        weights, validated = _best(source)
        steps = validated["step"]
    digest = save_weights(weights, path)
    training = {
        **metadata.options,
        "started_from": metadata.started_from,
        "steps_done": steps,
        "hours": round(state["seconds"] / 3600, 2),
        **({"validation": validated} if best else {}),
        **_recipe_of(source),
    }
    card = NetworkCard(path.name, digest, SPACING_MM[kind], metadata.network.to_json(), training)
    return card, metadata.sources


def _best(source: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of the best validation of a training, and its scores."""
    if not (source / BEST).is_file():
        raise UserError(
            f"The training in {source} has no validation yet.",
            "Leave out --checkpoint best, or train with --fold or --validate.",
            Code.MODEL_MISSING,
        )
    return load_tensors(source / BEST)


def _recipe_of(source: Path) -> dict[str, Any]:
    """Return the recipe of a training as an entry of its card; empty in earlier versions."""
    path = source / RECIPE_FILE
    return {"recipe": RECIPE.to_json(read_recipe(path))} if path.is_file() else {}


def _pack_level_training(
    kind: str, source: Path, path: Path
) -> tuple[NetworkCard, tuple[str, ...]]:
    """As `_pack_training`, of the level network."""
    record, state = read_record(source), load_checkpoint(source)
    digest = save_weights(state["average"], path)
    training = {**record.options, "steps_done": state["step"]}
    card = NetworkCard(path.name, digest, CROP_MM, record.network.to_json(), training)
    return card, record.sources
