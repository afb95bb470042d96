"""Which networks can be trained, by name; loads nothing, so that ``--help`` is quick."""

from __future__ import annotations

SWITCHES: dict[str, dict[str, bool]] = {
    "spinemamba": {},
    "no-rvm": {"rvm": False},
    "no-vsp": {"vsp": False},
    "plain": {"rvm": False, "vsp": False},
}
"""SpineMamba and what is left of it without its two parts: changes to `NetworkConfig`."""

DYNUNET = "dynunet"

KINDS = (*SWITCHES, DYNUNET)
"""Every network that can be trained."""

SIZES = ("tiny", "base")
"""Sizes of them: the starter's, or the reconstruction of the paper's network."""


SPACING_MM = {"coarse": 4.0, "fine": 1.5}


LEVEL_WEIGHT = {"coarse": 1.5, "fine": 0.1}
"""The coarse network sees enough of the patient to tell levels, and has little else to learn. A
fine patch rarely shows which vertebra it is: a full weight would drown the outlines in noise."""
