"""What of the documentation is made, not written: ``make docs``.

``docs/reference/cli.md`` from every command's ``--help``, and the list of all pages in ``docs/index.md``.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path
from typing import Final

import click

from manifestd.cli.main import COMMANDS, cli

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reference" / "cli.md"
INDEX: Final = DOCS / "index.md"
_MARK: Final = "<!-- all pages, by `make docs` -->\n"
_ROOMS: Final = {
    "howto": "How to", "reference": "Look up", "format": "Formats", "ci": "Pipelines",
    "adr": "Decisions",
}  # fmt: skip
_TEMPLATE: Final = DOCS / "adr" / "0000-template.md"
_WIDTH: Final = 100
_HEAD: Final = """\
# Commands

Written from `--help` (`make docs`); a test compares. Exit codes: [exit-codes.md](exit-codes.md).
`MANIFESTD_CONFIG` and `MANIFESTD_STORE` do the same as `--config` and `--store`.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _block("manifestd", cli, None)]
    return "\n".join([*parts, *(f"## {name}\n\n{section(name)}" for name in COMMANDS)])


def section(name: str) -> str:
    """The part of one command, without its heading: its help, and that of commands below it."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    with click.Context(cli, info_name="manifestd") as context:
        return _blocks(name, command, context)


def sections(text: str) -> dict[str, str]:
    """Command -> its part of a written page; the empty name has what stands before."""
    head, *rest = re.split(r"^## (.+)\n\n", text, flags=re.MULTILINE)
    return {
        "": head,
        **dict(zip(rest[::2], (f"{part.rstrip()}\n" for part in rest[1::2]), strict=True)),
    }


def _blocks(name: str, command: click.Command, parent: click.Context) -> str:
    text = _block(name, command, parent)
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name, parent=parent) as context:
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                text += "\n" + _blocks(below, found, context)
    return text


def _block(name: str, command: click.Command, parent: click.Context | None) -> str:
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": _WIDTH,
                "max_content_width": _WIDTH}  # fmt: skip
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(
            click.Context(command, info_name=name, parent=parent, **settings)  # type: ignore[arg-type]
        )
        text = command.get_help(context)
    return "```text\n" + "\n".join(line.rstrip() for line in text.splitlines()) + "\n```\n"


def index() -> str:
    """The index with its list of all pages as they are now."""
    written, _, _ = INDEX.read_text(encoding="utf-8").partition(_MARK)
    links = [
        f"[{_title(path)}]({path.name})" for path in sorted(DOCS.glob("*.md")) if path != INDEX
    ]
    lines = ["\n### Begin, and understand\n\n" + "".join(f"- {link}\n" for link in links)]
    for room, title in _ROOMS.items():
        pages = sorted(set((DOCS / room).glob("*.md")) - {_TEMPLATE})
        links = [f"[{_title(path)}]({room}/{path.name})" for path in pages]
        if links:
            lines.append(f"\n### {title}\n\n" + "".join(f"- {link}\n" for link in links))
    return written + _MARK + "".join(lines)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    INDEX.write_text(index(), encoding="utf-8")
