"""Codes of refused requests, and their HTTP status. Standard library only."""

from __future__ import annotations

from typing import Literal

Refusal = Literal[
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "NOT_FOUND",
    "NOT_ALLOWED",
    "NOT_READY",
    "ERASED",
    "TIMEOUT",
    "LENGTH_REQUIRED",
    "TOO_LARGE",
    "WRONG_TYPE",
    "INPUT_BAD",
    "TOO_MANY",
    "INTERNAL",
    "BUSY",
    "DISK_FULL",
]
"""Codes of refused requests; `STATUS` has the HTTP status of each."""

STATUS: dict[str, int] = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "NOT_FOUND": 404,
    "NOT_ALLOWED": 405,
    "TIMEOUT": 408,
    "NOT_READY": 409,
    "ERASED": 410,
    "LENGTH_REQUIRED": 411,
    "TOO_LARGE": 413,
    "WRONG_TYPE": 415,
    "INPUT_BAD": 422,
    "TOO_MANY": 429,
    "INTERNAL": 500,
    "BUSY": 503,
    "DISK_FULL": 507,
}
