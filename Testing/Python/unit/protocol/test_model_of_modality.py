"""The bundled model that is used for an image of a modality."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinemamba.protocol import model_card
from spinemamba.protocol.model_card import CARD, find_model_for


def bundle(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Make models with these names the bundled ones."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / CARD).touch()
    monkeypatch.setattr(model_card, "BUNDLED", folder)


@pytest.mark.parametrize(
    ("bundled", "asked", "used"),
    [
        (("starter", "starter-mr"), ("starter", "mr"), "starter-mr"),
        (("starter", "starter-mr"), ("starter", "ct"), "starter"),
        (("starter",), ("starter", "mr"), "starter"),
        (("starter", "starter-mr", "other"), ("other", "mr"), "other"),
        (("starter", "starter-mr"), ("starter-mr", "ct"), "starter-mr"),
    ],
)
def test_mr_has_a_model_of_its_own_unless_the_user_chose_one(
    monkeypatch, tmp_path, bundled, asked, used
):
    bundle(monkeypatch, tmp_path, *bundled)
    assert find_model_for(*asked) == tmp_path / used


def test_a_folder_of_the_user_stays_for_mr(monkeypatch, tmp_path):
    bundle(monkeypatch, tmp_path / "bundled", "starter", "starter-mr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / CARD).touch()
    assert find_model_for(str(tmp_path / "mine"), "mr") == tmp_path / "mine"
