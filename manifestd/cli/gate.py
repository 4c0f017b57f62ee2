"""``gate``: may these bytes be used under this tag, now? For pipelines."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from manifestd._version import TOOL
from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT, KEY
from manifestd.cli.output import emit, emit_json, write_file
from manifestd.display import printable
from manifestd.errors import AccessDeniedError, ConfigError, UsageError
from manifestd.model.moment import parse_span

if TYPE_CHECKING:
    from manifestd.model.gate import GateReport
    from manifestd.model.snapshot import ReadMode
    from manifestd.store import Store
    from manifestd.workflows.desk import Desk
    from manifestd.workflows.gate import Candidate

log = logging.getLogger(__name__)


@click.command(
    epilog="Example: manifestd gate gpt2:production s3://models/gpt2/ && deploy. Exit codes: "
    "0 open, 1 closed, 2 wrong usage, 3 could not be decided, 4 something does not verify: "
    "a signature, a key, the store, or bytes against their declared digest."
)
@click.argument("tag", metavar="NAME:TAG")
@click.argument("reference", metavar="REF|PLACE")
@click.option(
    "--offline", is_flag=True, help="Judge the latest stored snapshot of PLACE; opens no socket."
)
@click.option(
    "--read", type=click.Choice(["missing", "all", "none"]), help="Which bytes of PLACE to read."
)
@click.option(
    "--no-keep", is_flag=True, help="Do not store what is seen of PLACE (also when it cannot be)."
)
@click.option(
    "--receipt", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="When open, write a signed receipt that `verify --receipt` checks without hashing.",
)  # fmt: skip
@click.option(
    "--valid-for", metavar="SPAN", default="24h", show_default=True,
    help="How long the receipt counts.",
)  # fmt: skip
@KEY
@FORMAT
@click.pass_obj
def gate(
    context: Context,
    /,
    tag: str,
    reference: str,
    *,
    offline: bool,
    read: ReadMode | None,
    no_keep: bool,
    receipt: Path | None,
    valid_for: str,
    key: str | None,
    form: str,
) -> int:
    """Say whether the bytes of a place or snapshot may be used as NAME:TAG.

    Open means: they are the bytes that NAME:TAG names, its snapshot is signed by
    a trusted key, the evidence and the policy suffice, and enough people approved.
    A PLACE (a directory, s3://…, hf://…) is looked at now; any other REF is judged
    from the store, with no network. A file that `export --as bundle` wrote is
    judged by what it carries, and by the store if there is one.
    """
    from manifestd.workflows.gate import judge_gate
    from manifestd.workflows.gate_place import is_place
    from manifestd.workflows.opened import is_bundle

    span = parse_span(valid_for)
    bundle = is_bundle(reference)
    fresh = bundle is None and not offline and is_place(reference)
    if not fresh and (read is not None or no_keep):
        raise UsageError("--read and --no-keep are for a PLACE that is looked at now")
    with ExitStack() as stack:
        if fresh:
            store = stack.enter_context(_writable(context, keep=not no_keep))
            candidate = _look(
                context, store, (tag, reference), read, key=key, receipt=receipt, form=form
            )
        else:
            stored = _stored(context, reference, bundle, receipt)
            store, candidate = stack.enter_context(stored)
        desk = context.desk()
        report = judge_gate(store, desk, tag, candidate)
        if receipt is not None and report.open:
            report = _receipt(context, store, desk, report, receipt, key=key, valid_for=span)
    if form == "json":
        emit_json(report)
    elif not (context.quiet and report.open):
        emit("".join(f"{line}\n" for line in _lines(report)))
    return report.exit_code


@contextmanager
def _stored(
    context: Context, reference: str, bundle: Path | None, receipt: Path | None
) -> Iterator[tuple[Store, Candidate]]:
    """A snapshot in the store or in a bundle as the candidate, and the store to judge it in."""
    from manifestd.workflows.gate_place import stored_candidate

    if bundle is not None:
        from manifestd.workflows.gate_bundle import bundled_candidate

        if receipt is not None:
            raise UsageError("a receipt is about the files of a PLACE, not about a bundle")
        now = datetime.now(UTC)
        with bundled_candidate(
            context.store_path, bundle, reference, context.trust(), now, rules=context.config.tags
        ) as found:
            yield found
        return
    from manifestd.workflows.opened import stored

    store = _writable(context, keep=True) if receipt is not None else None
    with store or stored(context.store_path, [reference]) as opened:
        yield opened, stored_candidate(opened, reference)


@contextmanager
def _writable(context: Context, *, keep: bool) -> Iterator[Store]:
    """The store, or a copy of it that is thrown away where nothing is to be or can be written."""
    from manifestd.store import open_store

    if keep:
        try:
            store = context.change_store()
        except (AccessDeniedError, ConfigError) as error:
            log.warning("what is seen is not kept: %s", error.what)
        else:
            with store:
                yield store
            return
    from manifestd.store.backup import backup_store

    with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
        copy = Path(folder) / "manifestd.db"
        backup_store(context.store_path, copy)
        with open_store(copy, write=True) as store:
            yield store


def _look(
    context: Context,
    store: Store,
    about: tuple[str, str],
    read: ReadMode | None,
    *,
    key: str | None,
    receipt: Path | None,
    form: str,
) -> Candidate:
    from manifestd.cli.progress import progress
    from manifestd.workflows.gate_place import Look, take_candidate

    look = Look(
        config=context.config,
        tool=TOOL,
        signer=context.signer(key),
        own_outputs=(*context.own_outputs(), *_outputs(receipt)),
        read=read,
        progress=partial(progress, quiet=context.quiet or form == "json"),
    )
    return take_candidate(store, look, *about)


def _receipt(
    context: Context, store: Store, desk: Desk, report: GateReport, path: Path, *,
    key: str | None, valid_for: timedelta,
) -> GateReport:  # fmt: skip
    from manifestd.workflows.receipt import log_receipt, write_receipt

    desk = msgspec.structs.replace(desk, signer=context.signer(key))
    bundle = write_receipt(store, desk, report, valid_for=valid_for)
    log_receipt(store, desk, bundle, report)
    write_file(path, bundle)
    return msgspec.structs.replace(report, receipt=str(path))


def _outputs(receipt: Path | None) -> tuple[str, ...]:
    """The receipt's own paths: it may lie among the files that it is about."""
    if receipt is None:
        return ()
    path = receipt.absolute()
    return (str(path), f"{path}.part")


def _lines(report: GateReport) -> Iterator[str]:
    word = "OPEN" if report.open else "CLOSED" if report.exit_code != 3 else "UNDECIDED"
    yield printable(f"{word}  {report.tag}  {report.reference}")
    for check in report.checks:
        mark = "ok" if check.state == "ok" else check.state.upper()
        yield printable(f"  {mark:<8} {check.name:<10} {check.what}")
        yield from (printable(f"{'':22}{line}") for line in check.details)
        if check.opens:
            yield printable(f"{'':22}opens with: {check.opens}")
    if report.snapshot is not None:
        yield f"  snapshot {report.snapshot}"
        yield f"  manifest {report.manifest or 'none'}"
    if report.receipt is not None:
        yield printable(f"  receipt  {report.receipt}")
