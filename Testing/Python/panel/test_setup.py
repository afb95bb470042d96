"""The section Setup: packages, devices, models."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer.util
from run_helpers import put_python_slicer

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.model_card import BUNDLED, DEFAULT, bundled_models, find_model, read_card


@pytest.fixture
def copy_of_starter(tmp_path: Path) -> Path:
    """A model of the user: the bundled one under another name."""
    folder = tmp_path / "my model"
    folder.mkdir()
    for path in (BUNDLED / DEFAULT).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    change_card(folder, name="mine/../evil")
    return folder


def change_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "model.json").read_text("utf-8"))
    (folder / "model.json").write_text(json.dumps({**card, **changes}), "utf-8")


@pytest.fixture
def store(tmp_path: Path):
    from SpineMambaSegmentLib.Setup.ModelStore import ModelStore

    return ModelStore(tmp_path / "store")


def test_devices_come_from_the_probe_with_name_and_free_memory(panel, fake_worker, pump):
    panel.enter()
    ui = panel.ui
    assert "Checking" in ui.deviceLabel.text
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    texts = [ui.deviceSelector.itemText(k) for k in range(ui.deviceSelector.count)]
    assert texts == [
        "Automatic",
        "CPU (Test CPU)",
        "Test GPU: 20.5 of 24 GB free",
        "Server (see Setup)",
    ]
    assert "PyTorch 2.9.0 runs on Test GPU" in ui.deviceLabel.text
    ui.deviceSelector.setCurrentIndex(2)
    assert panel.inputSection.options().device == "cuda:0"


def test_a_chosen_gpu_stays_in_the_settings_while_it_is_missing(
    panel, make_panel, fake_worker, pump
):
    slicer.app.settings().setValue("SpineMambaSegment/Device", "cuda:0")
    panel.inputSection.showDevices([{"device": "cpu", "name": "x"}])
    assert panel.inputSection.options().device == "auto"
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    assert panel.inputSection.options().device == "cuda:0"


def test_a_probe_that_fails_says_why_and_the_panel_stays_usable(panel, monkeypatch, pump, tmp_path):
    command = "echo \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1"
    put_python_slicer(monkeypatch, tmp_path / "broken", command)
    panel.setupSection.check()
    pump(lambda: "Checking" not in panel.ui.deviceLabel.text)
    assert "No module named 'torch'" in panel.ui.deviceLabel.text
    assert panel.ui.deviceSelector.count == 3


def test_kernels_are_offered_where_they_can_work(panel):
    facts = {"mamba_ssm": False, "causal_conv1d": False}
    panel.setupSection._showKernels(facts, nvidia=False)
    assert not panel.ui.kernelsButton.enabled
    assert "not needed here" in panel.ui.kernelsLabel.text
    panel.setupSection._showKernels({"mamba_ssm": True, "causal_conv1d": True}, nvidia=True)
    assert not panel.ui.kernelsButton.enabled
    assert "is installed" in panel.ui.kernelsLabel.text


def test_missing_packages_are_listed_and_can_be_installed(
    panel, monkeypatch, tmp_path, fake_worker
):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["no-such-package"]\n', "utf-8")
    monkeypatch.setattr(panel.setupSection, "_pyproject", pyproject)
    asked: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *a, **k: asked.append(a[0]))
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda *a, **k: asked.append(a[0]))
    panel.setupSection.check()
    assert "no-such-package" in panel.ui.packagesLabel.text
    assert panel.ui.installButton.enabled
    panel.ui.installButton.click()
    assert "Install them now?" in asked[0]


def test_without_a_network_packages_come_from_a_folder_of_wheels(panel, monkeypatch, tmp_path):
    wheels, target = tmp_path / "my wheels", tmp_path / "site"
    wheels.mkdir()
    make_wheel(wheels, "spinemamba-test-wheel")
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["spinemamba-test-wheel"]\n', "utf-8")
    monkeypatch.setattr(panel.setupSection, "_pyproject", pyproject)
    monkeypatch.syspath_prepend(str(target))

    monkeypatch.setenv("PIP_TARGET", str(target))
    # A relative path there would not be found from the folder in which pip runs.
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    panel.setupSection.check()
    assert panel.ui.wheelsButton.enabled
    panel.setupSection.installFromWheels(tmp_path)  # there is none
    assert "spinemamba-test-wheel" in panel.ui.packagesLabel.text
    panel.setupSection.installFromWheels(wheels)
    assert "Python packages are installed" in panel.ui.packagesLabel.text
    assert not panel.ui.wheelsButton.enabled


def make_wheel(folder: Path, name: str) -> None:
    """Write the smallest wheel that pip accepts."""
    stem = f"{name.replace('-', '_')}-1"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{stem}.dist-info/{path},,\n" for path in [*files, "RECORD"])
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, "RECORD": record}.items():
            archive.writestr(f"{stem}.dist-info/{path}", text)


def project(panel, monkeypatch: pytest.MonkeyPatch, folder: Path, *requirements: str) -> None:
    """Let the panel require some packages."""
    pyproject = folder / "pyproject.toml"
    lines = json.dumps(list(requirements))
    pyproject.write_text(f"[project]\ndependencies = {lines}\n", "utf-8")
    monkeypatch.setattr(panel.setupSection, "_pyproject", pyproject)


@pytest.mark.parametrize(
    "case",
    [
        ("numpy>=1", "Install", "Python packages are installed."),
        ("pytest>=9999", "Upgrade", f"pytest {pytest.__version__} (required: >=9999)"),
        ("no-such-package>=2", "Install", "Missing: no-such-package. Press Install."),
    ],
)
def test_versions_are_compared_and_an_upgrade_is_offered(
    panel, monkeypatch, tmp_path, fake_worker, case
):
    requirement, button, text = case
    project(panel, monkeypatch, tmp_path, requirement)
    panel.setupSection.check()
    ui = panel.ui
    assert ui.installButton.text == button
    assert text in ui.packagesLabel.text
    name = requirement.partition(">=")[0]
    assert ui.packagesLabel.toolTip.startswith(f"{name}: ")
    assert "(required: >=" in ui.packagesLabel.toolTip


def test_a_declined_installation_leaves_the_status_line_as_it_was(
    panel, monkeypatch, tmp_path, fake_worker, volume
):
    project(panel, monkeypatch, tmp_path, "no-such-package>=2")
    panel.setupSection.check()
    before = panel.ui.packagesLabel.text
    seen: list[str] = []

    def decline(*a: object, **k: object) -> bool:
        seen.append(panel.ui.packagesLabel.text)
        return False

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", decline)
    shown: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *a, **k: shown.append(text))
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    assert "can take minutes" in seen[0]
    assert panel.ui.packagesLabel.text == before
    assert not panel.runs.isRunning()
    assert "no-such-package" in shown[0]


@pytest.fixture
def slow_pip(monkeypatch, tmp_path):
    """A PythonSlicer whose pip writes a line, and goes on for long."""
    command = "echo Collecting a-package\nexec sleep 30"
    put_python_slicer(monkeypatch, tmp_path / "slow", command)


def test_pip_is_shown_in_a_dialog_that_can_be_cancelled(
    panel, monkeypatch, tmp_path, slow_pip, pump
):
    from SpineMambaSegmentLib.Application.PipDialog import pipInDialog

    texts: list[str] = []

    def look() -> None:
        (dialog,) = panel.frame.findChildren(qt.QProgressDialog)
        texts.append(dialog.labelText)
        if "Collecting" in dialog.labelText:
            dialog.findChild(qt.QPushButton).click()

    timer = qt.QTimer()
    timer.setInterval(20)
    timer.connect("timeout()", look)
    timer.start()
    with pytest.raises(UserError, match="cancelled"):
        pipInDialog(panel.frame, ["a-package"])
    timer.stop()
    assert texts[-1] == "Collecting a-package"
    # The timer ran all the time: the windows were drawn.
    assert len(texts) > 1


def test_kernels_are_installed_in_the_background_and_can_be_cancelled(
    panel, monkeypatch, tmp_path, slow_pip, pump
):
    from SpineMambaSegmentLib.Setup import Dependencies

    monkeypatch.setattr(Dependencies, "kernelArguments", lambda path: ["--no-build-isolation", "x"])
    ui, section = panel.ui, panel.setupSection
    section.installOrCancelKernels()
    assert ui.kernelsButton.text == "Cancel"
    pump(lambda: ui.kernelsLabel.text == "Collecting a-package")
    process = section._kernels._process
    section.installOrCancelKernels()
    assert process.poll() is not None
    assert ui.kernelsButton.text == "GPU kernels"
    assert "cancelled" in ui.kernelsLabel.text
    section.installOrCancelKernels()
    process = section._kernels._process
    panel.stop()  # as when Slicer quits
    assert process.poll() is not None


def test_imported_models_are_removed_after_a_question(
    panel, monkeypatch, copy_of_starter, fake_worker
):
    ui, section = panel.ui, panel.setupSection
    section.check()
    assert not ui.removeModelsButton.enabled
    section.importModel(copy_of_starter)
    store = section._store
    (model,) = store.imported()
    beside = store.folder / "mine.txt"
    beside.write_text("not a model")
    inside = model / "notes.txt"
    inside.write_text("mine")
    assert ui.removeModelsButton.enabled
    size = sum(path.stat().st_size for path in model.glob("*.safetensors")) / 1e6
    assert f"{size:.0f} MB" in ui.removeModelsButton.toolTip
    asked: list[str] = []

    def ask(text: str, *a: object, **k: object) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    ui.removeModelsButton.click()
    assert store.imported() == [model]
    assert f"1 imported models ({size:.0f} MB)" in asked[0]
    ui.removeModelsButton.click()
    assert store.imported() == []
    assert not ui.removeModelsButton.enabled
    assert panel.inputSection.model() == DEFAULT
    assert ui.modelSelector.count == len(bundled_models())
    # Only what the import has written is deleted.
    assert beside.exists()
    assert inside.exists()
    assert not list(store.folder.rglob("*.safetensors"))
    assert (BUNDLED / DEFAULT / "model.json").is_file()
    section.importModel(copy_of_starter)
    assert store.imported() == [model]
    assert panel.inputSection.model() == str(model)
    section.removeModels()


def test_a_status_line_has_an_icon_of_slicers_kind_and_a_remedy(panel, fake_worker, pump, tmp_path):
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    ui = panel.ui
    for label in (ui.packagesLabel, ui.deviceLabel, ui.kernelsLabel, ui.modelLabel):
        icon = label.parent().findChild(qt.QLabel, label.name.replace("Label", "Icon"))
        assert icon.toolTip == "Available"
        assert not icon.pixmap.isNull()
        assert label.styleSheet == ""
    assert "Selective scan: nvrtc; convolutions: bfloat16." in ui.deviceLabel.text
    panel.setupSection.checkModel(str(tmp_path / "away"))
    assert "Choose" in ui.modelLabel.text
    assert ui.modelIcon.toolTip == "Needs attention"


def test_the_bundled_model_is_complete_and_its_card_is_shown(panel):
    panel.setupSection.checkModel(DEFAULT)
    assert "is complete" in panel.ui.modelLabel.text
    card = read_card(find_model(DEFAULT))
    text = panel.ui.modelCardText.toPlainText()
    for part in (card.name, card.hash(), card.licence, card.intended_use, card.data[0]):
        assert part in text


@pytest.mark.parametrize("form", ["folder", "model.json", "zip"])
def test_an_imported_model_is_copied_chosen_and_remembered(
    panel, make_panel, copy_of_starter, tmp_path, form
):
    source = copy_of_starter
    if form == "model.json":
        source = copy_of_starter / "model.json"
    if form == "zip":
        source = tmp_path / "model.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in copy_of_starter.iterdir():
                archive.write(path, f"deep/{path.name}")
    panel.setupSection.importModel(source)
    chosen = Path(panel.inputSection.model())
    assert chosen.parent.name == "SpineMambaModels"
    assert "evil" in chosen.name
    assert "is complete" in panel.ui.modelLabel.text
    assert make_panel().inputSection.model() == str(chosen)


def test_a_damaged_or_foreign_model_is_refused_and_leaves_nothing(store, copy_of_starter, tmp_path):
    def refused(code: Code, match: str, source: Path = copy_of_starter) -> None:
        with pytest.raises(UserError, match=match) as caught:
            store.importModel(source)
        assert caught.value.code is code
        assert not (tmp_path / "store").exists()

    weights = copy_of_starter / "fine.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    refused(Code.MODEL_BAD, "SHA-256 is not the one")
    weights.unlink()
    refused(Code.MODEL_MISSING, "fine.safetensors is missing")
    weights.write_bytes(whole)
    change_card(copy_of_starter, schema=99)
    refused(Code.MODEL_BAD, "schema 99")
    (tmp_path / "no.zip").write_bytes(b"no archive")
    refused(Code.MODEL_BAD, "not a .zip", tmp_path / "no.zip")
    refused(Code.MODEL_MISSING, "no model", tmp_path)


def test_a_pickle_with_the_right_hash_is_refused(store, copy_of_starter):
    import hashlib
    import pickle

    data = pickle.dumps({"weights": [1.0] * 100})
    (copy_of_starter / "fine.safetensors").write_bytes(data)
    networks = json.loads((copy_of_starter / "model.json").read_text("utf-8"))["networks"]
    networks["fine"]["sha256"] = hashlib.sha256(data).hexdigest()
    change_card(copy_of_starter, networks=networks)
    with pytest.raises(UserError, match="not a safetensors file"):
        store.importModel(copy_of_starter)


def test_importing_a_model_twice_keeps_one_copy(store, copy_of_starter):
    assert store.importModel(copy_of_starter) == store.importModel(copy_of_starter)
    assert len(store.names()) == len({*store.names()}) == len(bundled_models()) + 1


def test_the_remaining_time_converges():
    from SpineMambaSegmentLib.Panel.RunSection import RemainingTime

    now = [0.0]
    remaining = RemainingTime(lambda: now[0])
    assert remaining.update(0.5) is None
    for second in range(1, 91):
        now[0] = float(second)
        left_s = remaining.update(second / 100)
    assert left_s == pytest.approx(10.0)
