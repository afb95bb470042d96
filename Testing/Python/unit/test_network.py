from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spinemamba.network.blocks import fold, unfold
from spinemamba.network.config import COARSE, FINE, NetworkConfig
from spinemamba.network.rvm import RVM, VSSM
from spinemamba.network.unet import SpineMambaNet, parameter_count

SMALL = NetworkConfig(
    patch_vox=(32, 32, 32),
    channels=(16, 16, 32),
    encoder_rvm=(0, 1, 1),
    decoder_rvm=(0, 1),
    vsp_stages=(1,),
    state_size=4,
)


@pytest.mark.parametrize("scan", ["raster", "bi", "tri"])
@pytest.mark.parametrize("local", ["conv1d", "conv3d"])
@pytest.mark.parametrize(("rvm", "vsp"), [(True, True), (False, True), (True, False)])
def test_every_switch_gives_one_logit_for_each_voxel_and_output(scan, local, rvm, vsp):
    config = replace(SMALL, scan=scan, local=local, rvm=rvm, vsp=vsp)
    with torch.inference_mode():
        out = SpineMambaNet(config)(torch.randn(1, 1, 32, 32, 32))
    assert out.shape == (1, 27, 32, 32, 32)
    assert torch.isfinite(out).all()


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    config = replace(SMALL, vsp_stages=(0, 1))
    network = SpineMambaNet(config)
    network(torch.randn(1, 1, 32, 32, 32)).square().mean().backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_the_shape_prior_is_not_near_one_hot_at_the_start():
    torch.manual_seed(0)
    features, maps = torch.randn(64, 4000), torch.randn(26, 4000)
    soft = (features @ maps.T / 4000**0.5).softmax(-1).amax(-1).mean()
    published = (features @ maps.T / 26**0.5).softmax(-1).amax(-1).mean()
    assert soft < 0.3
    assert published > 0.8


def test_a_batch_of_one_and_of_two_agree():
    torch.manual_seed(0)
    network = SpineMambaNet(SMALL).eval()
    image = torch.randn(2, 1, 32, 32, 32)
    with torch.inference_mode():
        both = network(image)
        one = network(image[1:])
    torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_a_reversed_scan_sees_what_comes_after():
    torch.manual_seed(0)
    tokens = torch.randn(1, 27, 16)
    changed = tokens.clone()
    changed[0, 20] += 1
    for scan, sees in (("raster", False), ("bi", True)):
        mixer = VSSM(16, replace(SMALL, scan=scan))
        with torch.inference_mode():
            difference = mixer(tokens, (3, 3, 3)) - mixer(changed, (3, 3, 3))
        assert bool(difference[0, :17].abs().max() > 1e-6) is sees


def test_a_new_rvm_layer_starts_with_the_skip_scale_one():
    assert RVM(16, SMALL).skip_scale.tolist() == [1.0] * 16
    assert RVM(16, replace(SMALL, skip_scale="scalar")).skip_scale.tolist() == [1.0]


def test_unfolding_undoes_folding():
    x = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(unfold(fold(x, 2), 2), x)


def test_a_configuration_survives_json():
    assert NetworkConfig.from_json(COARSE.to_json()) == COARSE


def test_unknown_settings_and_wrong_patches_are_named():
    with pytest.raises(ValueError, match="colour"):
        NetworkConfig.from_json({**FINE.to_json(), "colour": 3})
    with pytest.raises(ValueError, match="81"):
        replace(FINE, patch_vox=(81, 64, 64))
    with pytest.raises(ValueError, match="patch must be"):
        SpineMambaNet(SMALL)(torch.zeros(1, 1, 16, 32, 32))


def test_both_starters_fit_into_twenty_megabytes_at_half_precision():
    parameters = parameter_count(SpineMambaNet(FINE)) + parameter_count(SpineMambaNet(COARSE))
    assert 2 * parameters < 20e6
