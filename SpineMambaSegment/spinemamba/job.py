"""What the worker shall do: job.json, in a versioned schema. Standard library only."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from spinemamba.errors import UserError
from spinemamba.models import DEFAULT

SCHEMA = 1
MODALITIES = ("auto", "ct", "mr")
DEVICES = ("auto", "cpu", "cuda", "mps")
QUALITIES = ("standard", "fast")
PRECISIONS = ("auto", "float32", "bfloat16")
NTH_GPU = re.compile(r"cuda:\d+")


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        input: Image file, or folder with a DICOM series.
        output: Label file to write; the name decides the format.
        result: result.json to write, None for none.
        picture: PNG to write, None for none.
        model: Name of a bundled model, or a folder.
        device: One of `DEVICES`, or one GPU of several, for example "cuda:1".
        modality: One of `MODALITIES`.
        quality: One of `QUALITIES`.
        precision: One of `PRECISIONS`.
        pins: Levels that the user is sure of; `pins.parse_pin` says how they are written.
    """

    input: Path
    output: Path
    result: Path | None = None
    picture: Path | None = None
    model: str = DEFAULT
    device: str = "auto"
    modality: str = "auto"
    quality: str = "standard"
    precision: str = "auto"
    pins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = DEVICES + ((self.device,) if NTH_GPU.fullmatch(self.device) else ())
        for name, allowed in (
            ("device", known),
            ("modality", MODALITIES),
            ("quality", QUALITIES),
            ("precision", PRECISIONS),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(p for p in (self.output, self.result, self.picture) if p is not None)

    def remove_partial(self, pid: int) -> None:
        """Delete what a process left half written beside the outputs; see `output`."""
        for folder in {path.absolute().parent for path in self.outputs}:
            for path in folder.glob(f".partial-{pid}-*"):
                # Windows does not delete what the process itself still holds open.
                with contextlib.suppress(OSError):
                    path.unlink()

    def write(self, path: Path) -> None:
        """Write job.json."""
        values = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }
        text = json.dumps({"schema": SCHEMA, **values}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def read_job(path: Path) -> Job:
    """Read and check job.json.

    Raises:
        UserError: If it is missing, damaged, or of another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if (schema := values.pop("schema")) != SCHEMA:
            raise ValueError(f"schema {schema}, this version reads {SCHEMA}")
        if unknown := set(values) - {f.name for f in fields(Job)}:
            raise ValueError(f"unknown entries: {', '.join(sorted(unknown))}")
        for name in ("input", "output", "result", "picture"):
            if values.get(name) is not None:
                values[name] = Path(values[name])
        values["pins"] = tuple(values.get("pins", ()))
        return Job(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path.name} is not a job: {error}.", "Start the run again from the panel or shell."
        ) from error
