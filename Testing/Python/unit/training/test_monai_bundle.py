"""A network as a MONAI bundle: its files, MONAI's own checks, and its workflow over an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import phantom, save
from tiny_training import CONFIG

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.cli.main import main
from spinemamba.imaging.intensity import LOCAL_MEAN, NORMALISATION, normalise
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import load_model, save_weights
from spinemamba.network.build import network_of
from spinemamba.network.config import CORE
from spinemamba.protocol.model_card import ModelCard, NetworkCard

SPACING_MM = 4.0

MANDATORY = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
)
"""Keys of metadata.json that MONAI's specification of bundles names as mandatory."""

OF_TENSOR = (
    "type",
    "format",
    "modality",
    "num_channels",
    "spatial_shape",
    "dtype",
    "value_range",
    "is_patch_data",
    "channel_def",
)
"""Keys of the description of a tensor that the specification names as mandatory."""


def needs_monai() -> None:
    """Skip a test where MONAI, or a package that its workflows need, is not installed."""
    for name in ("monai", "jsonschema", "fire", "ignite", "nibabel"):
        pytest.importorskip(name, reason=f"needs {name}: pip install 'spinemamba[monai]'")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model of two small networks with random weights."""
    return write_model(tmp_path / "model", NORMALISATION)


def write_model(folder: Path, normalisation: dict[str, object]) -> Path:
    folder.mkdir()
    networks = {}
    for seed, name in enumerate(("coarse", "fine")):
        torch.manual_seed(seed)
        state = network_of(CONFIG).state_dict()
        digest = save_weights(state, folder / f"{name}.safetensors")
        networks[name] = NetworkCard(
            f"{name}.safetensors", digest, SPACING_MM, CONFIG.to_json(), {}
        )
    data = ("VerSe, CC BY-SA 4.0.",)
    card = ModelCard(
        "tiny", "2", networks, NETWORK_LEVELS, normalisation, data, "CC-BY-SA-4.0", {}, "Tests."
    )
    card.write(folder)
    return folder


@pytest.fixture
def bundle(model: Path, tmp_path: Path) -> Path:
    assert main(["export-monai", str(model), str(tmp_path / "bundle")]) == 0
    return tmp_path / "bundle"


def crop() -> Volume:
    """Return a CT of one patch in canonical orientation."""
    image = canonical(phantom(1).image)[0]
    box = tuple(
        slice((have - want) // 2, (have - want) // 2 + want)
        for have, want in zip(image.array.shape, CONFIG.patch_vox, strict=True)
    )
    return Volume(np.ascontiguousarray(image.array[box]), crop_geometry(image.geometry, box))


def expected_logits(model: Path, image: Volume) -> np.ndarray:
    values = torch.from_numpy(normalise(image.array, "ct"))
    return load_model(model, precision="float32").fine.logits(values[None, None])[0].numpy()


def test_a_bundle_holds_weights_definition_description_and_licence(model: Path, bundle: Path):
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert files == {
        "LICENSE",
        "configs/inference.json",
        "configs/metadata.json",
        "docs/README.md",
        "models/model.pt",
    }
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    expected = load_model(model).fine.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
    licence = (bundle / "LICENSE").read_text()
    assert "CC-BY-SA-4.0" in licence
    assert "VerSe" in licence


def test_the_metadata_has_what_the_specification_demands(bundle: Path):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert set(MANDATORY) <= metadata.keys()
    (image,) = metadata["network_data_format"]["inputs"].values()
    (pred,) = metadata["network_data_format"]["outputs"].values()
    assert set(OF_TENSOR) <= image.keys() & pred.keys()
    assert len(pred["channel_def"]) == pred["num_channels"] == CONFIG.outputs
    assert pred["channel_def"][str(CORE)].startswith("core")
    assert pred["channel_def"]["1"] == NETWORK_LEVELS[0]


def test_an_existing_folder_is_not_replaced(model: Path, bundle: Path, capsys):
    before = (bundle / "LICENSE").read_bytes()
    assert main(["export-monai", str(model), str(bundle), "--network", "coarse"]) != 0
    assert "exists already" in capsys.readouterr().err
    assert (bundle / "LICENSE").read_bytes() == before


def test_a_model_for_mr_alone_is_refused(tmp_path: Path, capsys):
    folder = write_model(tmp_path / "mr", LOCAL_MEAN)
    assert main(["export-monai", str(folder), str(tmp_path / "bundle")]) != 0
    assert "local mean" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def files_of(bundle: Path) -> dict[str, str]:
    configs = bundle / "configs"
    return {
        "meta_file": str(configs / "metadata.json"),
        "config_file": str(configs / "inference.json"),
    }


def test_monai_verifies_input_and_output_of_the_network(bundle: Path):
    needs_monai()
    from monai.bundle import verify_net_in_out

    verify_net_in_out(net_id="network_def", device="cpu", **files_of(bundle))


def test_monai_verifies_the_metadata_against_the_specification(bundle: Path, tmp_path: Path):
    needs_monai()
    from monai.bundle import verify_metadata

    tensors = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "object", "required": list(OF_TENSOR)},
    }
    formats = {"type": "object", "properties": {"inputs": tensors, "outputs": tensors}}
    schema = {"required": list(MANDATORY), "properties": {"network_data_format": formats}}
    path = tmp_path / "schema.json"  # an existing file is not downloaded
    path.write_text(json.dumps(schema))
    verify_metadata(meta_file=files_of(bundle)["meta_file"], filepath=str(path))
    path.write_text(json.dumps(schema | {"required": ["missing"]}))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=files_of(bundle)["meta_file"], filepath=str(path))


def test_monai_verifies_the_metadata_against_its_published_schema(bundle: Path, tmp_path: Path):
    needs_monai()
    from monai.bundle import verify_metadata

    path = tmp_path / "schema.json"
    try:
        verify_metadata(meta_file=files_of(bundle)["meta_file"], filepath=str(path))
    except OSError:
        if path.exists():
            raise
        pytest.skip("the schema cannot be downloaded")


def test_monai_runs_the_bundle_with_the_values_of_our_network(
    model: Path, bundle: Path, tmp_path: Path
):
    needs_monai()
    import nibabel
    from monai.bundle import run

    image = crop()
    save(image, tmp_path / "images" / "one.nii.gz")
    places = {"bundle_root": str(bundle), "dataset_dir": str(tmp_path / "images")}
    places |= {"output_dir": str(tmp_path / "out"), "device": "cpu"}
    run(**files_of(bundle), **places)
    expected = expected_logits(model, image)
    values = np.array([0, *(BY_NAME[name].value for name in NETWORK_LEVELS)])
    labels = read_labels(tmp_path / "out" / "one_levels.nii.gz")
    again = canonical(labels)[0]
    assert again.geometry.matches(image.geometry)
    assert np.array_equal(again.array, values[expected[:CORE].argmax(0)])
    # The same again without the steps after the network, for the values themselves.
    saved = {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": str(tmp_path / "out"),
        "output_postfix": "logits",
        "output_dtype": "$numpy.float32",
        "separate_folder": False,
        "resample": False,
    }
    run(**files_of(bundle), **places, **{"postprocessing#transforms": [saved]})
    logits = nibabel.load(tmp_path / "out" / "one_logits.nii.gz").get_fdata()
    assert np.allclose(np.moveaxis(logits, -1, 0), expected, atol=1e-4)
