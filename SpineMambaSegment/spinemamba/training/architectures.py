"""Names of the networks that can be trained. Imports nothing, so that ``--help`` is fast."""

from __future__ import annotations

from typing import Any

SWITCHES: dict[str, dict[str, Any]] = {
    "spinemamba": {},
    "no-rvm": {"rvm": False},
    "no-vsp": {"vsp": False},
    "plain": {"rvm": False, "vsp": False},
    "dynunet": {"architecture": "dynunet"},
}
"""SpineMamba, ablations of its two parts, and MONAI's DynUNet: changes to `NetworkConfig`."""

KINDS = tuple(SWITCHES)
"""Kinds of networks that can be trained."""

SIZES = ("tiny", "full", "sagittal", "base")
"""Sizes of the network: that of the starter model, the same with outlines at full resolution, that
of the MR model, whose patches have the shape of a sagittal stack, or the reconstruction of the
paper's."""

RECIPES = ("verse-gpu", "totalseg-gpu", "finetune", "starter")
"""Names of the recipes of `recipes.named_recipe`."""

SPACING_MM = {"coarse": 4.0, "fine": 1.5}


LEVEL_WEIGHT = {"coarse": 1.5, "fine": 0.1}
"""Weight of the level loss. A coarse patch shows enough of the patient to identify levels. A fine
patch rarely does, so a full weight would add noise to the training of the outlines."""

LAST_PHASE = {"coarse": 1.0, "fine": 0.8}
"""Share of the schedule after which real images are learned as they are. The surface of bone is
learned from these; positions and levels from as many variations as possible."""

TURNED = {"coarse": 1.0, "fine": 0.35}
"""Share of rotated patches. The outlines of others are learned with the interpolation that a scan
gets when it is segmented."""

THICK = {"coarse": 0.2, "fine": 0.5}
"""Share of patches with simulated thick slices."""
