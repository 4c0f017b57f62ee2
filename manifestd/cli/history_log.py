"""``log``: the tamper-evident history: its entries, checkpoints of it, proofs from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from manifestd.cli.context import Context
from manifestd.cli.history_log_text import as_of_text, list_text, verification_text
from manifestd.cli.named_file import naming, read_named
from manifestd.cli.options import FORMAT, KEY
from manifestd.cli.output import emit, emit_json
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestd.signing.base import Signer
    from manifestd.store import Store

_OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file."
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOWN = 50


@click.group(
    invoke_without_command=True,
    epilog="Example: manifestd log --as-of 2026-03-01. Exit codes: 0, 2, 3 no store, "
    "4 the log is damaged.",
)
@click.option("--as-of", metavar="DATE", help="What every tag named then, judged as of then.")
@click.option("--kind", multiple=True, help="Only entries of this kind (snapshot, tag …).")
@click.option("--tag", metavar="NAME:TAG", help="Only entries about this tag.")
@click.option("--limit", type=click.IntRange(1), help=f"At most so many (default: {_SHOWN}).")
@FORMAT
@click.pass_context
def log(
    ctx: click.Context,
    *,
    as_of: str | None,
    kind: tuple[str, ...],
    tag: str | None,
    limit: int | None,
    form: str,
) -> None:
    """Show the history: snapshots, tag moves, approvals, deletions, newest first."""
    if ctx.invoked_subcommand is not None:
        return
    from manifestd.model.moment import parse_moment
    from manifestd.workflows import history

    context: Context = ctx.obj
    if as_of is not None:
        if kind or tag or limit:
            raise UsageError("--as-of cannot be combined with --kind, --tag or --limit")
        moment = parse_moment(as_of)
        trust = context.trust()
        with context.open_store() as store:
            then = history.as_of(store, trust, moment)
        if form == "json":
            emit_json(then)
        else:
            emit(as_of_text(then))
        return
    from manifestd.model.logentry import KINDS

    for word in kind:
        if word not in KINDS:
            raise UsageError(
                f"there is no kind of entry {word!r}", hint=f"known are {', '.join(KINDS)}"
            )
    with context.open_store() as store:
        found = history.list_log(store, kinds=kind, tag=tag, limit=limit or _SHOWN)
    if form == "json":
        emit_json(found)
    else:
        emit(list_text(found))


@log.command(
    epilog="Example: manifestd log checkpoint -o store.checkpoint. Exit codes: 0, 2, 3, "
    "4 the log does not continue what it should."
)
@_OUTPUT
@click.option(
    "--since", type=_FILE, metavar="FILE",
    help="Also prove that the log continues this earlier checkpoint, for a second machine.",
)  # fmt: skip
@click.option(
    "--cosign", type=_FILE, metavar="FILE",
    help="Add this machine's signature to a checkpoint, after checking it.",
)  # fmt: skip
@click.option(
    "--earlier", type=_FILE, metavar="FILE",
    help="With --cosign: the last checkpoint of that log this machine has seen.",
)  # fmt: skip
@click.option("--first", is_flag=True, help="With --cosign: there is no earlier one.")
@KEY
@click.pass_obj
def checkpoint(
    context: Context,
    *,
    output: Path | None,
    since: Path | None,
    cosign: Path | None,
    earlier: Path | None,
    first: bool,
    key: str | None,
) -> None:
    """Write size and root of the log as a few signed lines. Keep them on another machine.

    Whoever has them can prove later that nothing before was changed, dropped or
    put in. Nothing else protects against somebody who can write the store.
    """
    from manifestd.signing.notes import open_checkpoint
    from manifestd.workflows import checkpoints

    signer = _signer(context, key)
    if cosign is None:
        if earlier is not None or first:
            raise UsageError("--earlier and --first belong to --cosign")
        known = None
        if since is not None:
            note = checkpoints.parse_request(_note(context, since)).note
            known = open_checkpoint(note, context.trust().public_keys())
        with context.open_store() as store:
            made = checkpoints.make_checkpoint(store, context.config, signer, since=known)
    else:
        if since is not None:
            raise UsageError("--since and --cosign exclude each other")
        made = checkpoints.cosign(
            checkpoints.parse_request(_note(context, cosign)),
            context.trust(),
            signer,
            store=_copy(context),
            earlier=None if earlier is None else _note(context, earlier),
            first=first,
            named=context.store_file is not None,
        )
    emit(made.decode(), output)


@log.command(
    epilog="Example: manifestd log verify --checkpoint store.checkpoint. Exit codes: 0 nothing "
    "was changed, 2, 3, 4 something was, or the checkpoint does not verify."
)
@click.option("--checkpoint", "note", type=_FILE, metavar="FILE", help="One that was kept.")
@click.option(
    "--proof", type=_FILE, metavar="FILE", help="A proof from `log prove`; no store is read."
)
@click.option("--log-only", is_flag=True, help="Leave out what `store check` reads besides.")
@FORMAT
@click.pass_obj
def verify(
    context: Context, *, note: Path | None, proof: Path | None, log_only: bool, form: str
) -> int:
    """Check the whole store and its history against a checkpoint that was kept elsewhere."""
    from manifestd.workflows.proofs import verify_log, verify_proof

    trust = context.trust()
    if proof is not None:
        if note is not None or log_only:
            raise UsageError("--proof stands alone")
        from manifestd.model.note import MAX_NOTE

        with naming(proof, "a proof is made by `manifestd log prove REF -o FILE`"):
            found = verify_proof(read_named(proof, MAX_NOTE), trust)
    else:
        kept = None if note is None else _note(context, note)
        with context.open_store() as store:
            found = verify_log(store, trust, checkpoint=kept, log_only=log_only)
    if form == "json":
        emit_json(found)
    else:
        emit(verification_text(found))
    return 0 if found.verified else 4


@log.command(
    epilog="Example: manifestd log prove gpt2:production -o production.tlog-proof. "
    "Exit codes: 0, 2, 3 no such thing, 4 the log is damaged."
)
@click.argument("reference", required=False, metavar="REF")
@click.option("--entry", type=click.IntRange(0), help="Prove this entry of the log instead.")
@click.option("--checkpoint", "note", type=_FILE, metavar="FILE",
              help="Prove it by this (co-signed) checkpoint instead of a new one.")  # fmt: skip
@KEY
@_OUTPUT
@click.pass_obj
def prove(
    context: Context,
    *,
    reference: str | None,
    entry: int | None,
    note: Path | None,
    key: str | None,
    output: Path | None,
) -> None:
    """Write a file that proves that a snapshot, or a tag's last move, is in the log.

    Whoever trusts the key checks it with `log verify --proof`, or with any tool that
    reads C2SP tlog-proof files. No store is needed for that.
    """
    from manifestd.workflows.proofs import entry_for
    from manifestd.workflows.proofs import prove as make_proof

    if (reference is None) == (entry is None):
        raise UsageError(
            "give a snapshot or tag, or --entry N", hint="see `manifestd log` for the entries"
        )
    signer = None if note is not None else _signer(context, key)
    kept = None if note is None else _note(context, note)
    with context.open_store() as store:
        index = entry
        if reference is not None:
            index = entry_for(store, reference).index
        assert index is not None
        made = make_proof(
            store,
            context.config,
            signer,
            context.trust(),
            index=index,
            checkpoint=kept,
        )
    emit(made.decode(), output)


def _signer(context: Context, key: str | None) -> Signer:
    from manifestd.signing.base import needed

    return needed(context.signer(key), "a checkpoint")


def _note(context: Context, path: Path) -> bytes:
    """A checkpoint that somebody kept, signed by a key that counts here."""
    from manifestd.model.note import MAX_NOTE
    from manifestd.signing.notes import open_checkpoint
    from manifestd.workflows.checkpoints import parse_request

    data = read_named(path, MAX_NOTE)
    with naming(path, "a checkpoint is made by `manifestd log checkpoint -o FILE`"):
        open_checkpoint(parse_request(data).note, context.trust().public_keys())
    return data


def _copy(context: Context) -> Callable[[], Store] | None:
    """The store that a checkpoint can be held against, if there is one."""
    return context.open_store if context.store_path.exists() else None
