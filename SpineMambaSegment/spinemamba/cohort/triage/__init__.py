"""Triage of a cohort in the browser: the page, and the decisions of its readers."""
