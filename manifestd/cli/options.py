"""Options that many commands have, each in one wording."""

from __future__ import annotations

from typing import Final

import click

FORMAT: Final = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text"
)
KEY: Final = click.option(
    "--key", metavar="URI", help="Sign with this key instead of the configured one."
)
