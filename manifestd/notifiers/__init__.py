"""Whom to tell. One line here is all a new way of telling needs.

``webhook+https://…`` and ``exec:///…`` are served by members of their own, ``NAME://…`` by a
package that adds a member called ``NAME``, every other URL by Apprise.
"""

from __future__ import annotations

from manifestd.errors import ConfigError
from manifestd.notifiers.base import Channel, Notifier
from manifestd.plugins import Family

NOTIFIERS: Family[Notifier] = Family(
    "notifiers",
    {
        "apprise": "manifestd.notifiers.apprise:AppriseNotifier",
        "webhook": "manifestd.notifiers.webhook:WebhookNotifier",
        "exec": "manifestd.notifiers.exec:ExecNotifier",
    },
    extras={"apprise": "notify"},
)


def notifier_for(channel: Channel) -> Notifier:
    """The notifier that serves the channel's URL. Tells nobody yet.

    Raises:
        ConfigError: The URL cannot be used; the message never holds it.
        MissingExtraError: Apprise is needed and not installed.
    """
    scheme, separator, _ = channel.url.partition("://")
    if not separator:
        raise ConfigError(
            "a notify URL has no scheme", hint="for example slack://…, webhook+https://…, exec:///…"
        )
    name = scheme.partition("+")[0].lower()
    if name == "apprise" or (name not in NOTIFIERS.members and name not in NOTIFIERS.outside()):
        name = "apprise"
    return NOTIFIERS.load(name)(channel)
