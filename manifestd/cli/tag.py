"""``tag``: set, move, delete and list names for snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.history_log_text import digest_cell, who_cell
from manifestd.cli.options import FORMAT, KEY, text
from manifestd.cli.output import emit, emit_json, say, table
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.model.history import TagResult


@click.command(
    epilog="Example: manifestd tag gpt2:production hf://openai-community/gpt2 --reason 'release 4.2'. "
    "Exit codes: 0 done, 2 immutable, incomplete or without a key, 3 not stored or moved meanwhile, "
    "4 a signature or key that does not count."
)
@click.argument("names", nargs=-1, metavar="[NAME:TAG [REF]]")
@click.option("--list", "do_list", is_flag=True, help="List tags, of all names or of NAME.")
@click.option("--history", "do_history", is_flag=True, help="Show every move of NAME:TAG.")
@click.option("--delete", "do_delete", is_flag=True, help="Delete NAME:TAG; its history stays.")
@click.option("--reason", type=text, help="Why; kept in the history. Needed to delete.")
@click.option(
    "--expect", metavar="REF|none", help="Move it only if it names this now (none: nothing)."
)
@KEY
@FORMAT
@click.pass_obj
def tag(
    context: Context,
    names: tuple[str, ...],
    *,
    do_list: bool,
    do_history: bool,
    do_delete: bool,
    reason: str | None,
    expect: str | None,
    key: str | None,
    form: str,
) -> None:
    """Give a stored snapshot a name, or move a name to another snapshot.

    A tag is NAME:TAG, such as gpt2:production or openai-community/gpt2:v1. Every
    move is signed and logged, with who, when, why, from and to. [[tags]] rules of
    the configuration make tags immutable or demand approvals.
    """
    if do_list + do_history + do_delete > 1:
        raise UsageError("--list, --history and --delete exclude each other")
    if do_list:
        _show_list(context, _at_most_one(names), form)
    elif do_history:
        _show_history(context, _exactly_one(names), form)
    elif do_delete:
        _delete(context, _exactly_one(names), reason, key, form)
    elif len(names) == 2:
        _set(context, names, reason=reason, expect=expect, key=key, form=form)
    else:
        raise UsageError(
            "a tag and a snapshot are needed",
            hint="write: manifestd tag NAME:TAG REF, or one of --list, --history, --delete",
        )


def _set(
    context: Context,
    names: tuple[str, ...],
    *,
    reason: str | None,
    expect: str | None,
    key: str | None,
    form: str,
) -> None:
    from manifestd.workflows.tags import set_tag

    with context.change_store() as store:
        result = set_tag(
            store,
            context.desk(context.signer(key)),
            names[0],
            names[1],
            reason=reason,
            expect=expect,
        )
    _show_result(result, form)


def _delete(context: Context, name: str, reason: str | None, key: str | None, form: str) -> None:
    from manifestd.workflows.tags import delete_tag

    if not reason:
        raise UsageError("say why the tag is deleted", hint="add --reason TEXT")
    with context.change_store() as store:
        result = delete_tag(store, context.desk(context.signer(key)), name, reason=reason)
    _show_result(result, form)


def _show_result(result: TagResult, form: str) -> None:
    if form == "json":
        emit_json(result)
        return
    rows = [
        ("tag", f"{result.tag}  {result.action}"),
        ("from", result.from_ or "nothing"),
        ("snapshot", result.snapshot or "nothing"),
        ("manifest", result.manifest or "nothing"),
        ("by", f"{result.by} (key {result.key_id[:12]})"),
    ]
    if result.entry is not None:
        rows.append(("log entry", str(result.entry)))
    emit(table(rows))
    if result.signature not in {"verified", None}:
        say(f"Warning: the snapshot itself is {result.signature}.")


def _show_list(context: Context, name: str | None, form: str) -> None:
    from manifestd.workflows.tags import list_tags

    trust = context.trust()
    with context.open_store() as store:
        found = list_tags(store, trust, name)
    if form == "json":
        emit_json(found)
        return
    header = ("TAG", "SNAPSHOT", "MANIFEST", "SINCE", "BY")
    lines = [
        (
            state.tag,
            state.snapshot or "deleted",
            digest_cell(state.manifest),
            state.since[:19] + "Z",
            who_cell(state.by, state.signature),
        )
        for state in found.tags
    ]
    emit(table(lines, header) if lines else "There is no such tag.\n")


def _show_history(context: Context, name: str, form: str) -> None:
    from manifestd.workflows.tags import tag_history

    trust = context.trust()
    with context.open_store() as store:
        found = tag_history(store, trust, name)
    if form == "json":
        emit_json(found)
        return
    for move in found.moves:
        state = move.state
        who = printable(who_cell(state.by, state.signature))
        emit(f"{state.since[:19]}Z  {who}  (log entry {state.entry})\n")
        emit(f"  from {move.from_ or 'nothing'}\n  to   {state.snapshot or 'nothing (deleted)'}\n")
        if state.reason:
            emit(f"  why  {printable(state.reason)}\n")
        if state.why:
            emit(f"  {state.signature.upper()}: {printable(state.why)}\n")


def _exactly_one(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise UsageError("give one NAME:TAG")
    return names[0]


def _at_most_one(names: tuple[str, ...]) -> str | None:
    if len(names) > 1:
        raise UsageError("give at most one NAME")
    return names[0] if names else None
