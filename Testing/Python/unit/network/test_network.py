"""Shapes, gradients, configuration and size of the network."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spinemamba.cli.main import main
from spinemamba.network.blocks import Conv3d, Linear, fold, unfold
from spinemamba.network.config import BASE, COARSE, FINE, FULL, SIZES, NetworkConfig
from spinemamba.network.rvm import ORDERS, RVM, VSSM
from spinemamba.network.size import network_size
from spinemamba.network.unet import SpineMambaNet, parameter_count
from spinemamba.network.vsp import VSP
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card

SMALL = NetworkConfig(
    patch_vox=(32, 32, 32),
    channels=(16, 16, 32),
    encoder_rvm=(0, 1, 1),
    decoder_rvm=(0, 1),
    vsp_stages=(1,),
    state_size=4,
)


@pytest.mark.parametrize("scan", list(ORDERS))
@pytest.mark.parametrize("local", ["conv1d", "conv3d"])
@pytest.mark.parametrize(("rvm", "vsp"), [(True, True), (False, True), (True, False)])
def test_every_configuration_gives_one_logit_per_voxel_and_output(scan, local, rvm, vsp):
    config = replace(SMALL, scan=scan, local=local, rvm=rvm, vsp=vsp)
    with torch.inference_mode():
        out = SpineMambaNet(config)(torch.randn(1, 1, 32, 32, 32))
    assert out.shape == (1, 27, 32, 32, 32)
    assert torch.isfinite(out).all()


SWITCHES = [
    {"scan": "cross", "share_norm": True},
    {"post_norm": True, "skip_scale": "scalar"},
    {"tied_decay": True, "affinity_scale": "sqrt_n"},
    {"local": "conv3d", "offsets": True},
]


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_parameter_gets_a_gradient(switches):
    torch.manual_seed(0)
    config = replace(SMALL, vsp_stages=(0, 1), **switches)
    network = SpineMambaNet(config)
    network(torch.randn(1, 1, 32, 32, 32)).square().mean().backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_an_affinity_scaled_by_length_is_far_from_one_hot():
    torch.manual_seed(0)
    features, maps = torch.randn(64, 4000), torch.randn(26, 4000)
    soft = (features @ maps.T / 4000**0.5).softmax(-1).amax(-1).mean()
    published = (features @ maps.T / 26**0.5).softmax(-1).amax(-1).mean()
    assert soft < 0.3
    assert published > 0.8


def test_a_new_prior_is_soft_with_sqrt_l_and_saturated_with_sqrt_n():
    torch.manual_seed(0)
    features, maps = torch.randn(1, 16, 8, 8, 8), torch.randn(1, 26, 512)
    peaks = {}
    for scale in ("sqrt_l", "sqrt_n"):
        config = replace(SMALL, patch_vox=(64, 64, 64), prior_stride=8, affinity_scale=scale)
        prior = VSP(16, config, last=True)
        prior.refine = torch.nn.Identity()
        with torch.no_grad():
            refined, maps = prior(features, maps)
        mix = (refined - features).flatten(2)
        # Weight of the most similar class map; 1 if the affinity is one-hot.
        peaks[scale] = (mix @ maps.mT / 512).amax(-1).mean().item()
    assert peaks["sqrt_l"] < 0.4
    assert peaks["sqrt_n"] > 0.7


def test_a_shared_norm_and_tied_decay_rates_reduce_the_parameters():
    layer = RVM(16, replace(SMALL, share_norm=True))
    assert layer.norm_out is None
    tied = VSSM(16, replace(SMALL, tied_decay=True)).directions[0]
    free = VSSM(16, SMALL).directions[0]
    assert (tied.decay_log.numel(), free.decay_log.numel()) == (32, 32 * 4)
    torch.testing.assert_close(tied.rates(), free.rates())
    with torch.no_grad():
        tied.decay_log += 1
    torch.testing.assert_close(tied.rates(), free.rates() * torch.e)


def test_autocast_to_bfloat16_does_not_affect_the_scan_of_a_layer():
    torch.manual_seed(0)
    layer, x = RVM(16, SMALL), torch.randn(1, 16, 4, 4, 4) * 1e3
    with torch.inference_mode():
        expected = layer(x.bfloat16().float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x.bfloat16())
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out.float(), expected, atol=0.02, rtol=0.01)


def test_no_norm_depends_on_other_images_of_the_batch():
    kinds = {type(m) for m in SpineMambaNet(SMALL).modules() if "Norm" in type(m).__name__}
    assert kinds == {torch.nn.InstanceNorm3d, torch.nn.LayerNorm}


def test_the_batch_size_does_not_change_the_output():
    torch.manual_seed(0)
    network = SpineMambaNet(SMALL).eval()
    image = torch.randn(2, 1, 32, 32, 32)
    with torch.inference_mode():
        both = network(image)
        one = network(image[1:])
    torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_a_reversed_scan_depends_on_later_tokens():
    torch.manual_seed(0)
    tokens = torch.randn(1, 27, 16)
    changed = tokens.clone()
    changed[0, 20] += 1
    for scan, depends in (("raster", False), ("bi", True)):
        mixer = VSSM(16, replace(SMALL, scan=scan))
        with torch.inference_mode():
            difference = mixer(tokens, (3, 3, 3)) - mixer(changed, (3, 3, 3))
        assert bool(difference[0, :17].abs().max() > 1e-6) is depends


def test_the_skip_scale_of_a_new_rvm_layer_is_one():
    assert RVM(16, SMALL).skip_scale.tolist() == [1.0] * 16
    assert RVM(16, replace(SMALL, skip_scale="scalar")).skip_scale.tolist() == [1.0]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_has_the_values_and_gradients_of_torch(stride):
    torch.manual_seed(0)
    onednn, plain = Conv3d(3, 4, 3, stride, 1), torch.nn.Conv3d(3, 4, 3, stride, 1)
    plain.load_state_dict(onednn.state_dict())
    x = torch.randn(2, 3, 6, 7, 5, requires_grad=True)
    results = []
    for conv in (onednn, plain):
        y = conv(x)
        results.append([y, *torch.autograd.grad(y.sin().sum(), [x, *conv.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_is_the_same_with_and_without_gradients(bias):
    torch.manual_seed(0)
    layer, x = Linear(24, 40, bias=bias), torch.randn(2, 50, 24)
    with_gradients = layer(x)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), with_gradients, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(x.transpose(0, 1)), with_gradients.transpose(0, 1))
    with_gradients.sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


def test_unfold_is_the_inverse_of_fold():
    x = torch.randn(2, 3, 4, 6, 8)
    assert torch.equal(unfold(fold(x, 2), 2), x)


def test_a_configuration_is_unchanged_after_json():
    assert NetworkConfig.from_json(COARSE.to_json()) == COARSE


def test_unknown_settings_and_wrong_patch_sizes_are_refused():
    with pytest.raises(ValueError, match="colour"):
        NetworkConfig.from_json({**FINE.to_json(), "colour": 3})
    with pytest.raises(ValueError, match="81"):
        replace(FINE, patch_vox=(81, 64, 64))
    with pytest.raises(ValueError, match="patch must be"):
        SpineMambaNet(SMALL)(torch.zeros(1, 1, 16, 32, 32))


def test_both_bundled_networks_need_less_than_20_mb_in_half_precision():
    parameters = parameter_count(SpineMambaNet(FINE)) + parameter_count(SpineMambaNet(COARSE))
    assert 2 * parameters < 20e6


def test_the_multiply_adds_of_scans_are_those_of_their_layers():
    size = network_size(replace(SMALL, vsp=False))
    # Tokens, inner channels and rank of each RVM layer; two orders of four states.
    layers = ((8**3, 32, 1), (4**3, 64, 2), (8**3, 32, 1))
    assert size.scan_macs == sum(n * 2 * e * (3 * 4 + r) for n, e, r in layers)


def test_the_plain_base_network_has_the_published_size():
    plain = network_size(replace(BASE, rvm=False, vsp=False, offsets=False))
    assert plain.parameters / 1e6 == pytest.approx(16.85, abs=0.01)
    assert plain.macs / 1e9 == pytest.approx(453, abs=1)


def test_the_command_lists_every_named_size(capsys):
    assert main(["networks"]) == 0
    out = capsys.readouterr().out
    for name in SIZES:
        assert name in out


def test_the_bundled_networks_have_the_full_configurations():
    card = read_card(find_model(DEFAULT))
    for name, config in (("coarse", COARSE), ("fine", FULL)):
        bundled = NetworkConfig.from_json(card.networks[name].config)
        # Weights trained before offsets and details existed lack these outputs.
        later = {"offsets": config.offsets, "detail_channels": config.detail_channels}
        assert replace(bundled, **later) == config
