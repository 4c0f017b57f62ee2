"""Options that many commands have, each in one wording."""

from __future__ import annotations

from typing import Final

import click


def text(value: str) -> str:
    """Text that goes into a document: what is not UTF-8 cannot, and is refused before any work.

    Raises:
        click.BadParameter: It is not.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter(f"{value!r} is not UTF-8 text.") from error
    return value


FORMAT: Final = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text"
)
KEY: Final = click.option(
    "--key", metavar="URI", help="Sign with this key instead of the configured one."
)
