"""A small network configuration, a small case, and a training of them."""

from __future__ import annotations

from dataclasses import replace

from spinemamba.network.config import NetworkConfig
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import Case, make_case
from spinemamba.training.data.origin import PHANTOM_SOURCE, Origin
from spinemamba.training.loop import Trainer
from spinemamba.training.options import TrainOptions

CONFIG = NetworkConfig(
    patch_vox=(16, 16, 16),
    channels=(16, 16),
    encoder_rvm=(0, 1),
    decoder_rvm=(0,),
    vsp_stages=(0,),
    prior_stride=8,
    prior_heads=2,
    state_size=2,
)


def lumbar_case() -> Case:
    """Return L1 to L3 of a phantom at 4 mm."""
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True)
    phantom = make_phantom(1, options)
    case = make_case("phantom1", phantom.labels, 4.0, image=phantom.image)
    return replace(case, origin=Origin("phantom", PHANTOM_SOURCE))


def trainer(case: Case, config: NetworkConfig = CONFIG, **changes: object) -> Trainer:
    """Return a training before its first step, with changed options."""
    options = TrainOptions(**({"minutes": 10, "steps": 1000} | changes))
    return Trainer(config, [case], [1.0], options)
