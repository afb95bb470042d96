"""Every JSON format: reading what was written, damage, JSON Schemas, files of older versions."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import generate
import pytest
from json_contents import CONTENTS, RESULT
from json_schemas import FORMATS, schema_of
from schema_check import problems

from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import JsonFormat, Limits, check_limits, load
from spinemamba.protocol.result import read_result
from spinemamba.protocol.review import REVIEW
from spinemamba.protocol.vertebra_result import read_vertebra_result

SAMPLES = Path(__file__).parent / "samples"
VERSIONED = [name for name, form in FORMATS.items() if form.version is not None]


def values_of(name: str) -> dict[str, Any]:
    """Return the valid content of a format as JSON values."""
    return json.loads(FORMATS[name].to_text(CONTENTS[name]))


@pytest.mark.parametrize("name", FORMATS)
def test_content_is_unchanged_after_writing_and_reading(name: str, tmp_path: Path):
    FORMATS[name].write(CONTENTS[name], tmp_path / "a.json")
    assert FORMATS[name].read(tmp_path / "a.json") == CONTENTS[name]


def entries_of(values: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value inside JSON values."""
    pairs = enumerate(values) if isinstance(values, list) else values.items()
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, list | dict):
            yield from entries_of(value, (*path, key))


def changed(values: Any, path: tuple, value: Any) -> Any:
    """Return JSON values with another value at a path."""
    values = copy.deepcopy(values)
    inside = values
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return values


FREE = {
    "manifest": {"smoothing"},
    "model": {"config", "training", "normalisation", "results"},
    "review": {"result"},
    "training": {"options"},
}
"""Tables whose entries the formats leave to others."""


def is_typed(name: str, path: tuple) -> bool:
    return not set(path[:-1]) & FREE.get(name, set())


@pytest.mark.parametrize(
    ("name", "path"),
    [(n, p) for n in FORMATS for p in entries_of(values_of(n)) if is_typed(n, p)],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_an_entry_of_another_type_is_refused_with_its_path(name: str, path: tuple):
    values = values_of(name)
    old = values
    for key in path:
        old = old[key]
    # A text for a number, true for a number, a number for anything else.
    wrong = [str(old), True] if type(old) in (int, float) else [3]
    shown = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path)[1:]
    heads = {"schema": "schema", FORMATS[name].tag: f"{FORMATS[name].tag} must be one of"}
    for value in wrong:
        if old is None:
            continue
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is asserted below
            FORMATS[name].parse(changed(values, path, value))
        assert str(caught.value).startswith(heads.get(shown, f"{shown} must be "))


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_with_its_name_and_a_remedy(name: str, tmp_path: Path):
    form, values = FORMATS[name], values_of(name)
    text = json.dumps(values)
    required = [key for key in schema_of(form).get("required", []) if key != "schema"]
    number = next((p for p in entries_of(values) if type(_at(values, p)) in (int, float)), ())
    texts = {
        "": "Expecting value",
        "null": "must be a table",
        "[]": "must be a table",
        text[:-3]: "delimiter|Expecting|Unterminated",
        text[:-1] + ', "twice": 1, "twice": 2}': "'twice' occurs twice",
        "[" * 100_000: "nested too deeply",
        json.dumps(changed(values, number, float("nan"))): "NaN is not a number",
        **{json.dumps({k: v for k, v in values.items() if k != key}): key for key in required},
    }
    if not form.ignores_unknown:
        texts[json.dumps({**values, "surprise": 1})] = "unknown entries: surprise"
    path = tmp_path / "a.json"
    for damaged, reason in texts.items():
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(UserError, match=reason) as caught:
            form.read(path)
        assert caught.value.message.startswith(f"a.json is not {form.noun}: ")
        assert caught.value.remedy == form.remedy
        assert caught.value.code is form.code


def _at(values: Any, path: tuple) -> Any:
    for key in path:
        values = values[key]
    return values


@pytest.mark.parametrize("name", VERSIONED)
@pytest.mark.parametrize("version", [None, "1", 0, -1, True, 1.0])
def test_a_version_that_never_was_is_refused(name: str, version: object):
    with pytest.raises(ValueError, match="this version reads"):
        FORMATS[name].parse({**values_of(name), "schema": version})


@pytest.mark.parametrize("name", VERSIONED)
def test_a_file_of_a_newer_version_needs_a_newer_program(name: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps({**values_of(name), "schema": 99}))
    with pytest.raises(UserError, match=r"a\.json has schema 99; this version reads") as caught:
        FORMATS[name].read(tmp_path / "a.json")
    assert caught.value.remedy.startswith("Install a newer version")


def test_messages_show_the_path_and_the_wrong_value():
    values = RESULT.to_json()
    values["instances"] = [values["instances"][0]] * 3 + [
        {**values["instances"][0], "posterior": "0.9"}
    ]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is asserted below
        FORMATS["result"].parse(values)
    assert str(caught.value) == 'instances[3].posterior must be a number, got "0.9"'


@dataclass(frozen=True)
class Sample:
    share: Annotated[float, Limits(0, 1)] = 0.5
    scan: Literal["bi", "tri"] = "bi"
    device: Annotated[str, Limits(choices=("cpu",), pattern=r"cuda:\d+")] = "cpu"
    counts: tuple[Annotated[int, Limits(minimum=1)], ...] = ()
    point: tuple[float, float] = (0.0, 0.0)
    path: Path | None = None
    table: dict[str, float | None] | None = None

    def __post_init__(self) -> None:
        check_limits(self)


SAMPLE = JsonFormat(Sample, "a sample", "Try again.", defaults=True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"share": 1.5}, "share must be at most 1, got 1.5"),
        ({"share": -1}, "share must be at least 0, got -1"),
        ({"share": 10**400}, "share must be a finite number"),
        ({"share": None}, "share must be a number, got null"),
        ({"scan": "uni"}, "scan must be one of bi, tri, got"),
        ({"scan": ["bi"]}, "scan must be one of bi, tri, got"),
        ({"device": "cuda:x"}, "device must be one of cpu, got"),
        ({"counts": [1, 0]}, r"counts\[1\] must be at least 1, got 0"),
        ({"counts": [1.0]}, r"counts\[0\] must be a whole number, got 1.0"),
        ({"counts": "12"}, "counts must be a list, got"),
        ({"point": [1]}, r"point must be a list of 2, got \[1\]"),
        ({"point": [1, 2, 3]}, "point must be a list of 2, got"),
        ({"path": 3}, "path must be a text, got 3"),
        ({"table": {"a": "b"}}, r"table\.a must be a number, got"),
        ({"table": []}, "table must be a table of names and values"),
    ],
)
def test_values_outside_their_limits_are_refused(values: dict, says: str):
    with pytest.raises(ValueError, match=says):
        SAMPLE.parse(values)


def test_values_inside_their_limits_are_read():
    values = {"share": 1, "device": "cuda:1", "counts": [1], "point": [1, 2]}
    values |= {"path": "a/b", "table": {"a": None}}
    sample = Sample(1.0, "bi", "cuda:1", (1,), (1.0, 2.0), Path("a/b"), {"a": None})
    assert SAMPLE.parse(values) == sample
    with pytest.raises(ValueError, match="at most 1"):
        Sample(share=2.0)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', "NaN", "[1, Infinity]", "[1e999]", "[" * 10**5]
)
def test_json_that_means_nothing_is_refused(text: str):
    with pytest.raises(ValueError, match=r"twice|not a number|nested"):
        load(text)


def test_the_schema_files_are_current():
    shown = {path: path.read_text("utf-8") for path in generate.SCHEMAS.glob("*.json")}
    assert shown == generate.schema_files(), "run: python Testing/Tools/generate.py"


@pytest.mark.parametrize("name", FORMATS)
def test_a_schema_accepts_what_is_written_and_nothing_else(name: str):
    schema, values = schema_of(FORMATS[name]), values_of(name)
    assert problems(schema, values, schema) == []
    for path in entries_of(values):
        if is_typed(name, path) and _at(values, path) is not None:
            assert problems(schema, changed(values, path, [[]]), schema), path


@pytest.mark.parametrize("name", FORMATS)
def test_a_schema_describes_every_entry(name: str):
    def tables(schema: Any) -> Iterator[dict]:
        if isinstance(schema, dict):
            yield from [schema["properties"]] if "properties" in schema else []
            for value in schema.values():
                yield from tables(value)

    for table in tables(schema_of(FORMATS[name])):
        assert [k for k, v in table.items() if not {"description", "const"} & set(v)] == []


def test_a_result_of_schema_2_is_read():
    old = json.loads((SAMPLES / "result_2.json").read_text("utf-8"))
    result = read_result(SAMPLES / "result_2.json")
    assert old["schema"] == 2
    assert result.fixed_levels == ((5, "L1"),)
    for entry, instance in zip(old["instances"], result.instances, strict=True):
        assert instance.level_probabilities == tuple(entry["evidence"])
        assert (instance.name, instance.posterior) == (entry["name"], entry["posterior"])
    assert result.to_json()["schema"] == 3
    mixed = {**old, "fixed_levels": []}
    with pytest.raises(ValueError, match="unknown entries: fixed_levels"):
        FORMATS["result"].parse(mixed)
    with pytest.raises(ValueError, match="missing entries: pins"):
        FORMATS["result"].parse({k: v for k, v in old.items() if k != "pins"})


def test_a_re_segmentation_of_schema_1_is_read():
    result = read_vertebra_result(SAMPLES / "vertebra_result_1.json")
    assert (result.replaced_label, result.point_lps_mm) == (22, (1.5, -20.25, 310.0))
    assert result.level_probabilities[:2] == (0.04, 0.96)


def test_a_review_of_schema_1_is_read():
    review = REVIEW.read(SAMPLES / "review_1.json")
    assert review.fixed_levels == {"V24": "L5"}
    assert review.log[0].changes[0].level_after == "L5"
    assert review.result["schema"] == 2
