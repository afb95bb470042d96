"""Bodies of several parts, as DICOMweb sends and receives them (RFC 2387)."""

from __future__ import annotations

import uuid
from email.message import Message

DICOM = "application/dicom"


def parts_of(body: bytes, content_type: str) -> list[bytes]:
    """Return the contents of the parts of a body, without their headers.

    Args:
        body: The whole body.
        content_type: Value of the header Content-Type.

    Raises:
        ValueError: If the body is not of several parts, or is cut.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise ValueError("the answer is not multipart")
    mark = b"--" + boundary.encode("ascii", "replace")
    _, *rest = (b"\r\n" + body).split(b"\r\n" + mark)
    if not rest or not rest[-1].startswith(b"--"):
        raise ValueError("the answer has no end mark")
    return [_content(part) for part in rest[:-1]]


def _content(part: bytes) -> bytes:
    """Return a part without its headers, which end with an empty line."""
    head, blank, content = part.partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"\r\n"):
        raise ValueError("a part has no headers")
    return content


def body_of(parts: list[bytes]) -> tuple[bytes, str]:
    """Return a body with DICOM files as its parts, and its content type."""
    # A random boundary of 128 bits does not occur in the files.
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    body = b"".join([head + part + b"\r\n" for part in parts]) + end
    return body, f'multipart/related; type="{DICOM}"; boundary={boundary}'
