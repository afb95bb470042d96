"""Models of the panel: bundled and imported ones.

No model is run and nothing is unpickled: a model card is JSON, and weights are safetensors, whose
header is JSON.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tempfile
import uuid
import zipfile
from pathlib import Path

from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.model_card import ModelCard, bundled_models, read_card

_CARD = "model.json"
_BLOCK = 1 << 20
_MAX_HEADER_BYTES = 100 << 20


class ModelStore:
    """A folder of imported models, with one folder per model.

    Attributes:
        folder: Created when the first model is imported.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[str]:
        """Return names for `find_model`: bundled models, then folders of imported ones."""
        return [*bundled_models(), *(str(path) for path in self.imported())]

    def imported(self) -> list[Path]:
        """Return the folders of imported models."""
        return sorted(path.parent for path in self.folder.glob(f"*/{_CARD}"))

    def size_mb(self) -> float:
        """Return the disk space of the imported models, in MB."""
        sizes = [path.stat().st_size for model in self.imported() for path in model.iterdir()]
        return sum(sizes) / 1e6

    def removeImported(self) -> None:
        """Delete the imported models; other files in the folder are kept.

        Raises:
            UserError: If a file cannot be deleted.
        """
        for model in self.imported():
            # The card goes first: without it, what is left is not taken for a model.
            files = [model / _CARD, *model.glob("*.safetensors")]
            try:
                for path in files:
                    path.unlink()
                if not any(model.iterdir()):
                    model.rmdir()
            except OSError as error:
                raise UserError(
                    _("{name} could not be deleted: {why}.").format(
                        name=model.name, why=error.strerror
                    ),
                    _("Wait for the end of the run, or delete the folder by hand."),
                    Code.OUTPUT_BAD,
                ) from error

    def importModel(self, source: Path) -> Path:
        """Copy a model into the store and return its folder.

        Args:
            source: A folder, the model.json in it, or a .zip of both.

        Raises:
            UserError: If it is not a model (MODEL_MISSING), or damaged (MODEL_BAD).
        """
        if source.suffix.lower() == ".zip":
            with tempfile.TemporaryDirectory() as folder:
                _unpack(source, Path(folder))
                return self._copy(Path(folder))
        return self._copy(source if source.is_dir() else source.parent)

    def _copy(self, source: Path) -> Path:
        card = checkModel(source)
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in card.name).strip(".")
        target = self.folder / f"{safe}-{card.version}-{card.hash()}"
        if (target / _CARD).is_file():  # same name and hash: already imported
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that an interrupted copy does not look like a model. tempfile is
        # not used: its folders are readable by the owner only, whatever the umask.
        partial = self.folder / f".partial-{uuid.uuid4().hex}"
        partial.mkdir()
        names = [*(entry.file for entry in card.networks.values()), _CARD]
        for name in names:
            shutil.copyfile(source / name, partial / name)
        if not target.is_dir():
            return partial.rename(target)
        # After a removal, files of the user are still there. The card comes last.
        for name in names:
            (partial / name).replace(target / name)
        partial.rmdir()
        return target


def checkModel(folder: Path) -> ModelCard:
    """Check model card, hashes and headers of a model's files; return the card.

    Raises:
        UserError: If a file is missing (MODEL_MISSING) or damaged (MODEL_BAD).
    """
    card = read_card(folder)
    for entry in card.networks.values():
        path = folder / entry.file
        if not path.is_file():
            raise UserError(
                _("{file} is missing beside model.json.").format(file=entry.file),
                _("Copy the whole folder of the model."),
                Code.MODEL_MISSING,
            )
        if _sha256(path) != entry.sha256:
            raise _bad(entry.file, _("its SHA-256 is not the one in model.json"))
        if not _isSafetensors(path):
            raise _bad(entry.file, _("it is not a safetensors file"))
    return card


def cardText(card: ModelCard) -> str:
    """Return a model card as plain text."""
    rows = [
        f"{card.name} {card.version} ({card.hash()})",
        card.intended_use,
        _("Licence of the weights: {licence}").format(licence=card.licence),
        _("Training data:"),
        *(f"- {line}" for line in card.data),
    ]
    if card.results:
        rows.append(_("Results:"))
        rows += [f"- {case}: {json.dumps(value)}" for case, value in card.results.items()]
    return "\n".join(rows)


def _unpack(archive: Path, folder: Path) -> None:
    """Extract model.json and the files that it lists, from any folder of an archive."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = {Path(name).name: name for name in file.namelist()}
            if _CARD not in members:
                raise UserError(
                    _("{file} contains no model.json.").format(file=archive.name),
                    _("Choose an archive of a model's folder."),
                    Code.MODEL_MISSING,
                )
            (folder / _CARD).write_bytes(file.read(members[_CARD]))
            for entry in read_card(folder).networks.values():
                if entry.file in members:
                    (folder / entry.file).write_bytes(file.read(members[entry.file]))
    except zipfile.BadZipFile as error:
        raise _bad(archive.name, _("it is not a .zip archive")) from error


def _isSafetensors(path: Path) -> bool:
    """Return True if a file starts with a safetensors header: its length, then JSON."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size - 8):
            return False
        try:
            return isinstance(json.loads(file.read(length)), dict)
        except ValueError:
            return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _bad(name: str, why: str) -> UserError:
    return UserError(
        _("{file} cannot be used: {why}.").format(file=name, why=why),
        _("Download the model again."),
        Code.MODEL_BAD,
    )
