"""``discover``: propose ``[[model]]`` entries, and say what is on one list and not on another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from manifestd.cli.context import Context
from manifestd.cli.output import emit, emit_json, say, table
from manifestd.display import printable, size_text

if TYPE_CHECKING:
    from manifestd.model.discovery import Discovery, Gap
    from manifestd.store import Store

_GAPS = (
    ("not_mirrored", "At the source and not mirrored"),
    ("not_listed", "Mirrored and not on the list"),
    ("gone", "On the list and not at the source"),
    ("disagree", "Sides that do not hold the same"),
)


@click.group()
def discover() -> None:
    """Propose [[model]] entries, and compare source, list and mirrors."""


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all kinds."""
    form = click.option(
        "--format", "form", type=click.Choice(["toml", "text", "json"]), default="toml",
        show_default=True, help="toml: entries to paste, the comparison on stderr.",
    )  # fmt: skip
    check = click.option("--check", is_flag=True, help="End with 1 if anything is not covered.")
    return form(check(click.pass_obj(command)))


@discover.command(
    epilog="Example: manifestd discover hf --author openai-community --limit 20. Exit codes: "
    "0 done, 1 gaps (with --check), 2 no condition, 3 the Hub was not reached."
)
@click.option("--author", help="User or organisation.")
@click.option("--search", help="Words in the name.")
@click.option("--tag", "tags", multiple=True, help="A tag of the Hub; several must all be there.")
@click.option("--collection", metavar="SLUG", help="A collection: namespace/title-64f9….")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@_common
def hf(context: Context, /, check: bool, form: str, **conditions: Any) -> int:
    """Look for models on the Hugging Face Hub."""
    from manifestd.sources.hub_discovery import HubQuery
    from manifestd.workflows.discover import discover_hub

    query = HubQuery(**conditions)
    found = _with_store(context, lambda store: discover_hub(query, context.config, store))
    return _show(context, found, form, check=check)


@discover.command(
    epilog="Example: manifestd discover s3 s3://models/llm/. Exit codes: 0 done, 1 gaps (with "
    "--check), 2 not a bucket, 3 nothing there, or S3 was not reached."
)
@click.argument("reference", metavar="s3://BUCKET/PREFIX")
@click.option("--request-payer", is_flag=True, help="Accept a requester-pays bucket's charges.")
@_common
def s3(context: Context, reference: str, request_payer: bool, check: bool, form: str) -> int:
    """Look for folders in S3 that look like model repositories."""
    from manifestd.model.reference import parse_s3
    from manifestd.sources.base import SourceSettings
    from manifestd.workflows.discover import discover_s3

    place = parse_s3(reference)
    settings = SourceSettings(options={"requesterPays": True} if request_payer else {})
    found = _with_store(context, lambda store: discover_s3(place, context.config, store, settings))
    return _show(context, found, form, check=check)


def _with_store(context: Context, work: Callable[[Store | None], Discovery]) -> Discovery:
    """Do it with the store, if there is one yet."""
    if not context.store_path.exists():
        return work(None)
    with context.open_store() as store:
        return work(store)


def _show(context: Context, found: Discovery, form: str, *, check: bool) -> int:
    if form == "json":
        emit_json(found)
    elif form == "text":
        emit(_text(found))
    else:
        emit(found.proposals)
        if not context.quiet:
            say(f"{_summary(found)}.")
            for line in _gaps(found):
                say(line)
    return 1 if check and not found.covered else 0


def _summary(found: Discovery) -> str:
    entries = found.proposals.count("[[model]]")
    models = f"{len(found.found)} model{'s' * (len(found.found) != 1)}"
    return f"{models} at {printable(found.source)}, {entries} not in the configuration"


def _text(found: Discovery) -> str:
    rows = [
        (
            model.name,
            (model.revision or "")[:12],
            (model.modified or "")[:10],
            size_text(model.bytes) if model.bytes is not None else "",
            ", ".join(model.licenses or model.formats),
            " ".join(word for word in ("gated", "private") if getattr(model, word)),
        )
        for model in found.found
    ]
    header = ("MODEL", "REVISION", "CHANGED", "SIZE", "LICENCE OR FORMATS", "")
    lines = [_summary(found) + ".", *_gaps(found)]
    return (table(rows, header) if rows else "") + "\n".join(lines) + "\n"


def _gaps(found: Discovery) -> list[str]:
    lines = [printable(note) for note in found.notes]
    for attribute, title in _GAPS:
        gaps: list[Gap] = getattr(found, attribute)
        if gaps:
            lines.append(f"{title}:")
        lines += [f"  {printable(gap.name)}: {printable(gap.what)}" for gap in gaps]
    return lines
