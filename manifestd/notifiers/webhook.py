"""``webhook+https://host/path``: one signed POST, to start a job or to open a ticket.

Signed as https://www.standardwebhooks.com says (its version 1.0.0): the headers
``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``, the last being ``v1,`` and the
base64 of HMAC-SHA256 over ``id.timestamp.body``. Receivers check it with any library of that
standard or with two lines of shell (docs/howto/notifications.md), refuse old timestamps and
drop an id they have seen.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit

from manifestd._version import TOOL
from manifestd.errors import ConfigError, UndecidedError, UnreachableError
from manifestd.notifiers.address import Address, is_address, resolve
from manifestd.notifiers.base import SECONDS, Channel, Message, Notifier
from manifestd.redact import redact

PREFIX: Final = "whsec_"
"""Before a secret that is given in base64, as the standard has it."""

_LEAST: Final = 16
_SHOWN: Final = 200


class WebhookNotifier(Notifier):
    """Posts the notification document. Follows no redirect and uses no proxy."""

    name: ClassVar[str] = "webhook"

    def __init__(self, channel: Channel) -> None:
        scheme, _, rest = channel.url.partition("://")
        kind = scheme.lower().removeprefix("webhook+")
        parts = urlsplit(f"//{rest}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError("a webhook's URL has a port that is none") from error
        if kind not in {"http", "https"} or not host or parts.username is not None:
            raise ConfigError(
                "a webhook's URL is webhook+https://host/path, without a user",
                hint='the secret goes beside it: secret = "${VARIABLE}"',
            )
        if kind == "http" and not channel.allow_private:
            raise ConfigError(
                "a webhook without encryption may only go to a private address",
                hint="use webhook+https://, or set allow_private = true",
            )
        self._plain = kind == "http"
        self._private = channel.allow_private
        self._key = _key(channel.secret)
        self._host = host
        self._port = port or (80 if self._plain else 443)
        self._netloc = parts.netloc
        # Whatever a variable put into the URL, it stays one request line.
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
        self._target = f"{path}?{query}" if query else path

    def check(self, *, look_up: bool) -> None:
        """Judge the host; see :meth:`Notifier.check`."""
        if look_up or is_address(self._host):
            self._addresses()

    def tell(self, message: Message) -> None:
        """Post the document and expect a 2xx answer.

        Raises:
            UnreachableError: No answer in time, or the name does not resolve.
            AccessDeniedError: The host's address may not be connected to.
            UndecidedError: Another answer than 2xx.
        """
        deadline = time.monotonic() + SECONDS
        addresses = self._addresses()
        connection = self._connection(addresses, deadline)
        # A time-out holds for one read each; a server that sends a byte now and then has many.
        end = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [connection.sock])
        end.start()
        try:
            connection.request(
                "POST", self._target, body=message.document, headers=self._headers(message)
            )
            answer = connection.getresponse()
            text = answer.read(_SHOWN).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(
                f"the webhook at {self._host!r} did not answer: {redact(str(error))}"
            ) from error
        finally:
            end.cancel()
            connection.close()
        if not 200 <= answer.status < 300:
            raise UndecidedError(
                f"the webhook at {self._host!r} answered {answer.status}",
                why=redact(text.strip()) or None,
                facts={"status": answer.status},
            )

    def _addresses(self) -> list[Address]:
        """Where the host is, each of which may be connected to."""
        addresses = resolve(self._host, self._port, allow_private=self._private)
        if self._plain and any(address.is_global for address in addresses):
            raise UndecidedError(
                f"the host {self._host!r} is not private, so its webhook must be encrypted",
                hint="use webhook+https://",
            )
        return addresses

    def _headers(self, message: Message) -> dict[str, str]:
        return {
            "host": self._netloc,
            "content-type": "application/json",
            "user-agent": TOOL,
            "webhook-id": message.identity,
            "webhook-timestamp": str(message.sent_at),
            "webhook-signature": sign(
                self._key, message.identity, message.sent_at, message.document
            ),
        }

    def _connection(
        self, addresses: Sequence[Address], deadline: float
    ) -> http.client.HTTPConnection:
        """Connected to one of the addresses that were judged, and to no other."""
        last: OSError | None = None
        for address in addresses:
            left = max(0.1, deadline - time.monotonic())
            try:
                wire = socket.create_connection((str(address), self._port), timeout=left)
            except OSError as error:
                last = error
                continue
            connection = http.client.HTTPConnection(self._host, self._port, timeout=left)
            try:
                connection.sock = wire if self._plain else _secured(wire, self._host)
            except OSError as error:
                wire.close()
                raise UnreachableError(
                    f"no encrypted connection to {self._host!r}: {error}"
                ) from error
            return connection
        raise UnreachableError(f"the webhook at {self._host!r} is out of reach: {last}") from last


def sign(key: bytes, identity: str, sent_at: int, body: bytes) -> str:
    """The value of ``webhook-signature`` for one message."""
    signed = f"{identity}.{sent_at}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _cut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket's own: that one would wait for the other side's farewell.
        socket.socket.shutdown(wire, socket.SHUT_RDWR)


def _secured(wire: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(wire, server_hostname=host)


def _key(secret: str | None) -> bytes:
    if secret is None:
        raise ConfigError(
            "a webhook needs a secret to sign with",
            hint='add secret = "${VARIABLE}" to its [[notify]]',
        )
    key = secret.encode()
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"a webhook's secret after {PREFIX!r} is not base64") from error
    if len(key) < _LEAST:
        raise ConfigError(
            f"a webhook's secret is shorter than {_LEAST} bytes",
            hint="make one: openssl rand -base64 32",
        )
    return key
