"""Debian's headless Firefox, driven over Marionette: its own automation protocol, JSON with a length before it.

    with firefox() as browser:
        browser.go(server.url)
        browser.until("return document.body?.dataset.state === 'live'")
        browser.press("w")

Playwright drives only its own build of Firefox. The camera is a fake one, which nobody is asked for. Synchronous:
for servers in a process of their own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIREFOX = os.environ.get("FIREFOX", "/usr/bin/firefox-esr")
#: A busy machine takes a while to start a browser; a command that is not answered by then never is.
WITHIN_S = 60.0
PREFERENCES: dict[str, bool | int | str] = {
    "marionette.port": 0,
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    # H.264 comes as a plugin from the network, and a test downloads nothing.
    "media.gmp-manager.updateEnabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "data:,",
}
#: Of WebDriver, for `key_down` and `key_up`.
ARROW_LEFT, ARROW_UP = "\ue012", "\ue013"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Refused(Exception):
    """Firefox answered a command with an error."""


class Firefox:
    """One browser with one page."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._unread = b""
        self._ids = 0
        self._receive()  # its greeting
        self.command("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.command("WebDriver:SetTimeouts", script=int(WITHIN_S * 1000), pageLoad=int(WITHIN_S * 1000))

    def go(self, url: str) -> None:
        self.command("WebDriver:Navigate", url=url)

    def run(self, body: str, *arguments: object) -> Any:
        """Run a function's body in the page, wait for a promise that it returns, and return what it gives."""
        return self.command("WebDriver:ExecuteScript", script=body, args=list(arguments))["value"]

    def until(self, body: str, *arguments: object, within_s: float = 30) -> Any:
        """Wait until a body returns something that is true, and return it."""
        give_up_s = time.monotonic() + within_s
        while not (found := self.run(body, *arguments)):
            assert time.monotonic() < give_up_s, f"still not after {within_s} s: {body}"
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        self.command("WebDriver:ElementClick", id=self._find(selector))

    def type(self, selector: str, text: str) -> None:
        """Type into a field; a path names the file of a file field."""
        self.command("WebDriver:ElementSendKeys", id=self._find(selector), text=text)

    def key_down(self, key: str) -> None:
        self._key("keyDown", key)

    def key_up(self, key: str) -> None:
        self._key("keyUp", key)

    def touch(self, finger: str, selector: str) -> None:
        """Put a finger, known by its name, down on the middle of an element; it stays there."""
        origin = {_ELEMENT: self._find(selector)}
        to = {"type": "pointerMove", "x": 0, "y": 0, "duration": 0, "origin": origin}
        self._finger(finger, to, {"type": "pointerDown", "button": 0})

    def lift(self, finger: str) -> None:
        self._finger(finger, {"type": "pointerUp", "button": 0})

    def command(self, name: str, **parameters: object) -> Any:
        self._ids += 1
        text = json.dumps([0, self._ids, name, parameters]).encode()
        self._wire.sendall(b"%d:%b" % (len(text), text))
        _, number, error, result = self._receive()
        assert number == self._ids
        if error is not None:
            raise Refused(f"{name}: {error['error']}: {error['message']}")
        return result

    def _find(self, selector: str) -> str:
        found = self.command("WebDriver:FindElement", using="css selector", value=selector)
        return str(found["value"][_ELEMENT])

    def _key(self, kind: str, key: str) -> None:
        actions = [{"type": "key", "id": "keyboard", "actions": [{"type": kind, "value": key}]}]
        self.command("WebDriver:PerformActions", actions=actions)

    def _finger(self, finger: str, *actions: dict[str, object]) -> None:
        touch = {"type": "pointer", "id": finger, "parameters": {"pointerType": "touch"}}
        self.command("WebDriver:PerformActions", actions=[{**touch, "actions": list(actions)}])

    def _receive(self) -> Any:
        while b":" not in self._unread:
            self._read()
        length, _, self._unread = self._unread.partition(b":")
        while len(self._unread) < int(length):
            self._read()
        text, self._unread = self._unread[: int(length)], self._unread[int(length) :]
        return json.loads(text)

    def _read(self) -> None:
        some = self._wire.recv(65536)
        if not some:
            raise ConnectionError("Firefox has ended")
        self._unread += some


@contextmanager
def firefox(**preferences: bool | int | str) -> Iterator[Firefox]:
    """Launch one browser with a profile of its own; end it and remove the profile on the way out."""
    with tempfile.TemporaryDirectory(prefix="firefox-") as profile:
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in {**PREFERENCES, **preferences}.items()
        ]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        process = subprocess.Popen(
            [FIREFOX, "--headless", "--no-remote", "--marionette", "--profile", profile],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1", "HOME": profile},
        )
        try:
            with socket.create_connection(("127.0.0.1", _port(profile, process)), WITHIN_S) as wire:
                browser = Firefox(wire)
                yield browser
                browser.command("Marionette:Quit", flags=["eForceQuit"])
            process.wait(WITHIN_S)
        finally:
            process.kill()
            process.wait()


def _port(profile: str, process: subprocess.Popen[bytes]) -> int:
    written = Path(profile) / "MarionetteActivePort"
    give_up_s = time.monotonic() + WITHIN_S
    while not (written.exists() and (text := written.read_text())):
        assert process.poll() is None, "Firefox has ended"
        assert time.monotonic() < give_up_s, "Firefox does not start"
        time.sleep(0.05)
    return int(text)
