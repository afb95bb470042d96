"""Turn two trainings into a model that ships: averaged weights, and the card that explains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spinemamba.checkpoint import save_weights
from spinemamba.errors import Code, UserError
from spinemamba.intensity import CT_WINDOW_HU, MR_PERCENTILES
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.models import ModelCard, NetworkCard
from spinemamba.training.command import SPACING_MM
from spinemamba.training.kinds import DYNUNET
from spinemamba.training.pieces import load_pieces
from spinemamba.training.real import merged

OPEN = "Apache-2.0"
SHARE_ALIKE = "CC-BY-SA-4.0"
"""Weights that have learned from VerSe are passed on as VerSe is."""

INTENDED_USE = (
    "Research and demonstration: a first segmentation of vertebrae in CT that a person reviews. "
    "Not for clinical use. MR is experimental."
)


def pack_model(coarse: Path, fine: Path, folder: Path, *, name: str, version: str) -> ModelCard:
    """Write a model from the checkpoints of its two networks.

    Args:
        coarse: Folder of the coarse network's training.
        fine: Folder of the fine network's training.
        folder: Where the model goes; made if it does not exist.
        name: Name of the model.
        version: Version of the weights.

    Returns:
        The card; its results are empty until somebody measures them.

    Raises:
        UserError: If a training has no checkpoint (MODEL_MISSING).
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = {"coarse": coarse, "fine": fine}
    abouts = {kind: _about(kind, source) for kind, source in sources.items()}
    networks = {
        kind: _pack_network(kind, source, folder, abouts[kind]) for kind, source in sources.items()
    }
    data = merged(*(tuple(about["sources"]) for about in abouts.values()))
    card = ModelCard(
        name=name,
        version=version,
        networks=networks,
        labels=NETWORK_LEVELS,
        normalisation={"ct_window_hu": CT_WINDOW_HU, "mr_percentiles": MR_PERCENTILES},
        data=data,
        licence=SHARE_ALIKE if any("BY-SA" in source for source in data) else OPEN,
        results={},
        intended_use=INTENDED_USE,
    )
    card.write(folder)
    return card


def _about(kind: str, source: Path) -> dict[str, Any]:
    """Return what a training says of itself."""
    path = source / "training.json"
    if not path.is_file():
        raise UserError(
            f"No checkpoint of the {kind} network in {source}.",
            f"Run 'spinemamba train {kind} --out {source}' first.",
            Code.MODEL_MISSING,
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _pack_network(kind: str, source: Path, folder: Path, about: dict[str, Any]) -> NetworkCard:
    if about["options"].get("kind") == DYNUNET:
        raise UserError(
            f"The {kind} network in {source} is a baseline, and models hold SpineMamba only.",
            "Train it with --kind spinemamba.",
            Code.MODEL_BAD,
        )
    state = load_pieces(source)
    file = f"{kind}.safetensors"
    digest = save_weights(state["average"], folder / file)
    training = {
        **about["options"],
        "steps_done": state["step"],
        "hours": round(state["seconds"] / 3600, 2),
    }
    return NetworkCard(file, digest, SPACING_MM[kind], about["network"], training)
