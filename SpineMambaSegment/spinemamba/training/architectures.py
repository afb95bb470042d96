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
