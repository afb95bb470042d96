"""Error messages for users: a message, a remedy, and a code to look up in the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer.util
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events


@contextmanager
def shown(message: str, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Show errors in a dialog; errors other than `UserError` are also logged by Slicer.

    Args:
        message: Message that says what failed.
        say: Also receives the message, for the status line.
    """
    with slicer.util.tryWithErrorDisplay(message):
        try:
            yield
        except UserError as error:
            say(withCode(error.code.value, str(error)))
            slicer.util.errorDisplay(f"{message}\n\n{error}")


def withCode(code: str, text: str) -> str:
    """Return a message with its error code in front."""
    return f"{code}: {text}"


def fullText(error: UserError) -> str:
    """Return an error of `spinemamba` in the user's language, followed by its original message."""
    return f"{sentences()[error.code]} {remedies()[error.code]}\n{error.message}"


def translated(event: events.Event) -> events.Event:
    """Return a `Failed` event with its message translated; other events are returned unchanged.

    The worker writes English only. Its original message, which names values, comes last.
    """
    if not isinstance(event, events.Failed):
        return event
    code = Code(event.code)
    sentence, remedy = sentences()[code], remedies()[code]
    return events.Failed(event.code, sentence, "\n".join([remedy, event.message]))


def sentences() -> dict[Code, str]:
    """Return the message of each error code."""
    return {
        Code.INPUT_BAD: _("The volume cannot be segmented."),
        Code.OUTPUT_BAD: _("The result cannot be written."),
        Code.MODEL_MISSING: _("The model was not found."),
        Code.MODEL_BAD: _("The model is damaged or belongs to another version."),
        Code.NO_SPINE: _("No spine was found."),
        Code.NO_GPU: _("The chosen GPU is not available."),
        Code.OOM_GPU: _("The GPU has too little free memory."),
        Code.OOM_HOST: _("This computer has too little free memory."),
        Code.DISK_FULL: _("The disk is full."),
        Code.DEPENDENCY_MISSING: _("A Python package is missing."),
        Code.SERVER_UNREACHABLE: _("The server does not answer."),
        Code.SERVER_REFUSED: _("The server cannot do this."),
        Code.CANCELLED: _("Cancelled. Nothing was changed."),
        Code.CRASH: _("The background process ended without a result."),
        Code.INTERNAL: _("Something went wrong inside SpineMamba Segment."),
    }


def remedies() -> dict[Code, str]:
    """Return the remedy for each error code."""
    report = _("Press Copy diagnostics and include the copied text in your report.")
    return {
        Code.INPUT_BAD: _("Choose a CT or MR volume with one value per voxel."),
        Code.OUTPUT_BAD: _("Choose another temporary folder in Slicer's settings."),
        Code.MODEL_MISSING: _("Choose the bundled model, or import the other one again in Setup."),
        Code.MODEL_BAD: _("Choose the bundled model, or download the other one again."),
        Code.NO_SPINE: _("Check that the volume shows a spine, and the modality."),
        Code.NO_GPU: _("Choose the device Automatic or CPU; update the graphics driver."),
        Code.OOM_GPU: _("Close other programs, choose a region, or the device CPU."),
        Code.OOM_HOST: _("Close other programs, or choose a region."),
        Code.DISK_FULL: _("Free some space, or choose another temporary folder in the settings."),
        Code.DEPENDENCY_MISSING: _("Press Install in the section Setup."),
        Code.SERVER_UNREACHABLE: _(
            "Press Test connection in the section Setup. To compute on this computer instead, "
            "choose another device and press Segment Spine."
        ),
        Code.SERVER_REFUSED: _(
            "Press Test connection in the section Setup. To compute on this computer instead, "
            "choose another device and press Segment Spine."
        ),
        Code.CANCELLED: "",
        Code.CRASH: " ".join([_("Close other programs to free memory and try again."), report]),
        Code.INTERNAL: report,
    }
