"""Page of a follow-up: what changed beyond its uncertainty, and all values then and now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spinemamba.measure.follow_up.record import Change, FollowUp
from spinemamba.protocol.quantities import BY_KEY
from spinemamba.report.html import Cell, Table, write_html

_CHANGED = "changed"
"""CSS class of a change beyond its uncertainty."""

_SECTIONS = {
    "Heights of vertebrae": (
        "anterior_height_mm",
        "middle_height_mm",
        "posterior_height_mm",
        "height_loss_percent",
    ),
    "Density": ("trabecular_hu", "trabecular_mg_ml"),
    "Discs": ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm"),
    "Slips": ("slip_mm", "lateral_slip_mm"),
}
"""Quantities of each table."""


def write_page(follow_up: FollowUp, path: Path, title: str = "") -> None:
    """Write the page atomically.

    Args:
        follow_up: What to show.
        path: File to write, ``.html``.
        title: Heading; no name is taken from a file, because it may identify a patient.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    write_html(
        path,
        "follow_up.html",
        title=title,
        subtitle=_subtitle(follow_up),
        alerts=follow_up.alerts,
        changed=_changed(follow_up.changes),
        count=len(follow_up.changes),
        tables=list(_tables(follow_up.changes)),
        angles=_angles(follow_up.changes),
        matches=_matches(follow_up),
        notes=follow_up.notes,
        provenance=f"Compared by SpineMamba Segment {follow_up.package_version}.",
    )


def _subtitle(follow_up: FollowUp) -> str:
    levels = [match.level for match in follow_up.matches]
    if not levels:
        return "No vertebra is whole in both results."
    return f"{levels[0]} to {levels[-1]}, {len(levels)} vertebrae whole in both results."


def _changed(changes: Sequence[Change]) -> Table | None:
    """Return the changes beyond their uncertainty, largest in relation to it first."""
    beyond = [change for change in changes if change.beyond]
    beyond.sort(key=lambda change: -abs(change.change) / max(change.uncertainty, 1e-9))
    if not beyond:
        return None
    rows = [
        [
            " ".join(filter(None, (change.name, change.view))),
            BY_KEY[change.quantity].head,
            *_then_and_now(change),
            change.unit,
        ]
        for change in beyond
    ]
    return Table.of(("where", "quantity", "then", "now", "change", "unit"), rows)


def _then_and_now(change: Change) -> tuple[str, str, str]:
    """Return both values and the change with its uncertainty as texts."""
    digits = BY_KEY[change.quantity].digits
    before, after = (f"{value:.{digits}f}" for value in (change.before, change.after))
    return before, after, _with_sign(change)


def _with_sign(change: Change) -> str:
    digits = BY_KEY[change.quantity].digits
    width = f"\N{PLUS-MINUS SIGN} {change.uncertainty:.{digits}f}"
    # Adding 0 turns -0 into 0.
    return f"{round(change.change, digits) + 0.0:+.{digits}f} {width}"


def _tables(changes: Sequence[Change]) -> Iterator[tuple[str, Table]]:
    """Yield name and table of each section that has values."""
    for name, keys in _SECTIONS.items():
        present = [key for key in keys if any(change.quantity == key for change in changes)]
        if not present:
            continue
        by_place: dict[str, dict[str, Change]] = {}
        for change in changes:
            if change.quantity in present:
                by_place.setdefault(change.name, {})[change.quantity] = change
        heads = [Cell("level")]
        for key in present:
            quantity = BY_KEY[key]
            unit = "" if quantity.head.endswith(quantity.unit) else f" {quantity.unit}"
            heads += [Cell(f"{quantity.head}{unit}"), Cell("change")]
        rows = []
        for place, found in by_place.items():
            row = [Cell(place)]
            for key in present:
                row += _cells(found.get(key))
            rows.append(tuple(row))
        yield name, Table(tuple(heads), tuple(rows))


def _cells(change: Change | None) -> list[Cell]:
    if change is None:
        return [Cell("-"), Cell("-")]
    before, after, difference = _then_and_now(change)
    css_class = _CHANGED if change.beyond else ""
    return [Cell(f"{before} \N{RIGHTWARDS ARROW} {after}"), Cell(difference, css_class)]


def _angles(changes: Sequence[Change]) -> Table | None:
    rows = tuple(
        (Cell(f"{change.name} ({change.view})"), *_cells(change))
        for change in changes
        if change.kind in ("angle", "curve")
    )
    heads = (Cell("angle or curve"), Cell("then and now, degrees"), Cell("change"))
    return Table(heads, rows) if rows else None


def _matches(follow_up: FollowUp) -> Table | None:
    if not follow_up.matches:
        return None
    rows = [
        [
            match.level,
            *([match.before_level] if follow_up.level_shift else []),
            f"{match.residual_mm:.2f}",
            f"{match.shift_mm:.1f}",
            f"{match.turn_deg:.1f}",
        ]
        for match in follow_up.matches
    ]
    former = ["named then"] if follow_up.level_shift else []
    heads = ("level", *former, "distance mm", "moved mm", "turned degrees")
    return Table.of(heads, rows)
