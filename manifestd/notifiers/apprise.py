"""Every service that Apprise knows: Slack, Teams, e-mail, and some hundred more."""

from __future__ import annotations

import difflib
import logging
import warnings
from typing import Any, ClassVar, Final

import apprise
import apprise.manager_plugins

from manifestd.errors import ConfigError, UndecidedError
from manifestd.notifiers.address import is_address, resolve
from manifestd.notifiers.base import Channel, Message, Notifier

KINDS: Final = {"pass": "success", "fail": "failure", "error": "failure", "unknown": "warning"}

# Apprise logs URLs with their tokens; what went wrong is told by us, without them.
logging.getLogger("apprise").disabled = True


class AppriseNotifier(Notifier):
    """One Apprise URL. Follows no redirect where Apprise lets us say so."""

    name: ClassVar[str] = "apprise"

    def __init__(self, channel: Channel) -> None:
        asset = apprise.AppriseAsset(app_id="manifestd", app_desc="manifestd", async_mode=False)
        asset.app_url = ""
        if hasattr(asset, "http_redirects"):
            asset.http_redirects = False
        # The first look-up imports all of Apprise's plugins, some with libraries past their time.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            target = apprise.Apprise.instantiate(channel.url, asset=asset)
        self._scheme = channel.url.partition("://")[0][:20]
        if target is None:
            raise ConfigError(
                f"Apprise does not take this notify URL of the kind {self._scheme!r}",
                hint=_nearest(self._scheme) or "its forms are listed at https://appriseit.com",
            )
        self._target: Any = target
        self._private = channel.allow_private

    def check(self, *, look_up: bool) -> None:
        """Judge the host, where the URL has one; see :meth:`Notifier.check`."""
        self._check_host(look_up=look_up)

    def tell(self, message: Message) -> None:
        """Tell the service.

        Raises:
            AccessDeniedError: The URL names a host whose address may not be connected to.
            UndecidedError: The service did not take it; Apprise does not say why.
        """
        self._check_host()
        client = apprise.Apprise()
        client.add(self._target)
        try:
            told = client.notify(
                body=message.body,
                title=message.title,
                notify_type=KINDS[message.result],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # some hundred plugins raise what their libraries raise
            raise UndecidedError(
                f"the service behind {self._scheme}:// failed: {type(error).__name__}"
            ) from error
        if not told:
            raise UndecidedError(
                f"the service behind {self._scheme}:// did not take the message",
                hint="check its URL and that it can be reached from here",
            )

    def _check_host(self, *, look_up: bool = True) -> None:
        """Judge the host, where the URL has one: elsewhere its place holds a token.

        A token must not be asked for in the DNS, so only services whose form has a host are.
        """
        if any("{host}" in form for form in getattr(self._target, "templates", ())):
            host, port = str(self._target.host), int(self._target.port or 443)
            if look_up or is_address(host):
                resolve(host, port, allow_private=self._private)


def _nearest(scheme: str) -> str | None:
    """What a service that does not exist may have been meant to be; None when it does exist."""
    services: Any = apprise.manager_plugins.NotificationManager
    known = set(services().schemas())
    if scheme.lower() in known:
        return None
    near = difflib.get_close_matches(scheme.lower(), sorted(known), n=1)
    return f"did you mean {near[0]}://?" if near else None
