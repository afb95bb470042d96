"""Tables, contact sheets and triage page of all cases of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spinemamba.cohort.contact_sheet import write_contact_sheets
from spinemamba.cohort.tables import write_tables
from spinemamba.cohort.triage.page import write_triage
from spinemamba.protocol.cohort import CaseRecord


def write_overview(out: Path, records: Sequence[CaseRecord], *, parquet: bool) -> list[Path]:
    """Write tables, contact sheets and triage page; return their paths.

    Args:
        out: Output folder.
        records: Cases in the order of the rows.
        parquet: Whether to write the table in Parquet, too.

    Raises:
        UserError: If a file cannot be written.
    """
    paths = write_tables(out, records, parquet=parquet)
    return [*paths, *write_contact_sheets(out, records), write_triage(out, records)[0]]
