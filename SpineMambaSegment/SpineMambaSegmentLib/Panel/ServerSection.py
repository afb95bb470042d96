"""The server in the section Setup: address, token, certificates, and a test of the connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

import spinemamba
from spinemamba.common.errors import UserError
from spinemamba.protocol.remote.credentials import bearer_of
from spinemamba.protocol.remote.formats import Capabilities
from spinemamba.protocol.remote.site import Site
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.Icons import showStatus
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Runs.ServerTest import ServerTest
from SpineMambaSegmentLib.Setup.TokenStore import TokenStore

_POLL_MS = 50
_ADDRESS, _CERTIFICATES = "Server/Address", "Server/Certificates"


class ServerSection:
    """Fields for one server. Address and certificates are settings; the token is stored apart.

    Args:
        ui: Widgets of the panel.
        settings: Settings of the user.
        tokens: Stores the token.
        inputs: Gets the server, whenever it has changed.
    """

    def __init__(self, ui: Any, settings: UserSettings, tokens: TokenStore, inputs: InputSection):
        self._ui, self._settings, self._tokens = ui, settings, tokens
        self._onChange = inputs.showServer
        self._test: ServerTest | None = None
        self._known: Site | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self._show()
        inputs.site = self.site
        inputs.showServer()
        ui.serverAddressEdit.connect("editingFinished()", self._onAddress)
        ui.serverTokenEdit.connect("editingFinished()", self._onToken)
        ui.serverCertificatesButton.connect("clicked(bool)", self.chooseCertificates)
        ui.testServerButton.connect("clicked(bool)", self.test)

    def site(self) -> Site | None:
        """Return the server; None if its address is missing or not valid."""
        return self._known

    def test(self) -> None:
        """Ask the server what it is; the answer is shown when it has come."""
        self._keepFields()
        try:
            site = self._site()
            if site is None:
                self._mark(False, _("Enter the address of a server."))
                return
            self.stop()
            self._test = ServerTest(site)
        except UserError as error:
            self._mark(False, str(error))
            return
        self._ui.testServerButton.enabled = False
        self._ui.serverLabel.text = _("Asking {host}").format(host=site.host)
        self._timer.start()

    def chooseCertificates(self) -> None:
        """Ask for a file of certificates to trust; without one, those of the system are used."""
        title = _("Certificates to trust")
        path = self._settings.askFile(title, "Certificates", _("Certificates (*.pem *.crt)"))
        self._settings.keep(_CERTIFICATES, "" if path is None else str(path))
        self._show()
        self._onChange()

    def stop(self) -> None:
        """Stop a test that is in progress."""
        self._timer.stop()
        if self._test is not None:
            self._test.stop()
            self._test = None
        self._ui.testServerButton.enabled = True

    def _address(self) -> str:
        return self._settings.text(_ADDRESS)

    def _site(self) -> Site | None:
        """Return the server; None without an address.

        Raises:
            UserError: If address or token cannot be used.
        """
        address = self._address()
        if not address:
            return None
        certificates = self._settings.text(_CERTIFICATES)
        token = bearer_of(self._tokens.token(address))
        return Site(address, token, Path(certificates) if certificates else None)

    def _keepFields(self) -> None:
        """Keep what was typed, also if the field still has the focus."""
        self._onAddress()
        self._onToken()

    def _onAddress(self) -> None:
        address = self._ui.serverAddressEdit.text.strip().rstrip("/")
        if address != self._address():
            self._settings.keep(_ADDRESS, address)
            self._show()
            self._onChange()

    def _onToken(self) -> None:
        token = self._ui.serverTokenEdit.text.strip()
        if not token or not self._address():
            return
        with Errors.shown(_("The token could not be stored.")):
            bearer_of(token)
            self._tokens.keep(self._address(), token)
        self._show()
        if self._tokens.fileOf(self._address()) is not None:
            self._ui.serverLabel.text = _(
                "The token is stored in a file that only you can read; the system has no keyring, "
                "or it is locked."
            )
        self._onChange()

    def _show(self) -> None:
        """Show the settings. A stored token is not shown."""
        address, ui = self._address(), self._ui
        # Asked once: the keyring of the system may be slow.
        try:
            self._known = self._site()
        except UserError:
            self._known = None
        ui.serverAddressEdit.text = address
        ui.serverTokenEdit.text = ""
        isStored = self._known is not None and bool(self._known.authorization)
        ui.serverTokenEdit.placeholderText = _("stored") if isStored else _("none")
        ui.serverTokenEdit.toolTip = self._tokenTip(isStored)
        certificates = self._settings.text(_CERTIFICATES)
        ui.serverCertificatesButton.toolTip = (
            _("Certificates to trust: {name}").format(name=Path(certificates).name)
            if certificates
            else _("Certificates to trust, if the server's own are not known to this computer")
        )
        showStatus(ui.serverIcon, "status-notstarted", _("Not tested"))
        ui.serverLabel.text = _("Optional: a server that segments for this computer.")

    def _tokenTip(self, isStored: bool) -> str:
        """Return where the token is stored."""
        if not isStored:
            return _(
                "Token from the administrator of the server; stored in the keyring of the system, "
                "or in a file that only you can read"
            )
        path = self._tokens.fileOf(self._address())
        if path is None:
            return _("Stored in the keyring of the system")
        return _("Stored in {path}, which only you can read").format(path=path)

    def _poll(self) -> None:
        test = self._test
        if test is None or test.isRunning():
            return
        self.stop()
        try:
            self._mark(True, _answerText(test.capabilities()))
        except UserError as error:
            self._mark(False, str(error))

    def _mark(self, good: bool, text: str) -> None:
        self._ui.serverLabel.text = text
        if good:
            showStatus(self._ui.serverIcon, "status-completed", _("Available"))
        else:
            showStatus(self._ui.serverIcon, "status-flagged", _("Needs attention"))


def _answerText(about: Capabilities) -> str:
    """Return who has answered, and with which models and devices."""
    text = _(
        "{server} answers, and knows you as {client}. Version {version}; models: {models}; "
        "devices: {devices}; jobs in line: {queued}."
    )
    text = text.format(
        server=about.server,
        client=about.client,
        version=about.version,
        models=", ".join(f"{model.name} {model.version}" for model in about.models),
        devices=", ".join(device.name or device.device for device in about.devices),
        queued=about.queued,
    )
    if about.version == spinemamba.__version__:
        return text
    note = _("This computer has version {version}; install the same version on both.")
    return f"{text} {note.format(version=spinemamba.__version__)}"
