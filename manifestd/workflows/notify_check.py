"""Whether every ``[[notify]]`` could be told: found out before a run, and without telling anybody."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from manifestd.errors import ConfigError, ManifestdError, UnreachableError, UsageError
from manifestd.redact import redact
from manifestd.reports.escape import shorten, visible

if TYPE_CHECKING:
    from manifestd.config import Config
    from manifestd.config.shape import Notify

_log: Final = logging.getLogger(__name__)


def check_notify(config: Config, environ: Mapping[str, str], *, look_up: bool = True) -> None:
    """Refuse channels that could never be told. Sends nothing.

    A host that does not resolve just now is only warned of: it may by the end of the run.

    Args:
        config: Names the channels.
        environ: Fills the variables of their URLs and secrets.
        look_up: Host names may be looked up.

    Raises:
        ConfigError: One has a variable that is not set, a URL nothing serves, or an address
            that may not be told; the message names the entry and never holds its URL.
        MissingExtraError: What serves one is not installed.
    """
    for number, channel in enumerate(config.notify):
        key = f"notify[{number}]"
        scheme, separator, _ = channel.url.partition("://")
        kind = f" ({shorten(visible(redact(scheme)), 30)})" if separator else ""
        where = f"{config.label}: {key}{kind}"
        try:
            _check(channel, environ, look_up=look_up)
        except UnreachableError as error:
            _log.warning("%s: %s; it will not be told unless that changes", where, error.what)
        except ManifestdError as error:
            refusal = type(error) if isinstance(error, UsageError) else ConfigError
            raise refusal(
                f"{where}: {error.what}",
                why=error.why,
                hint=error.hint or "correct it, or tell nobody: run --no-notify",
                facts={**error.facts, "key": key},
            ) from error
        except (
            Exception
        ) as error:  # what a plugin's own defect is must not keep a run from starting
            _log.warning("%s: could not be checked: %s", where, type(error).__name__)


def _check(channel: Notify, environ: Mapping[str, str], *, look_up: bool) -> None:
    from manifestd.notifiers import notifier_for
    from manifestd.notifiers.base import Channel

    notifier = notifier_for(
        Channel(
            url=channel.expanded_url(environ),
            secret=channel.expanded_secret(environ),
            allow_private=channel.allow_private,
        )
    )
    notifier.check(look_up=look_up)
