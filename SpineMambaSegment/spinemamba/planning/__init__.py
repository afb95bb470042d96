"""Pedicles, suggested screw corridors, breach tests and drill-guide patches."""
