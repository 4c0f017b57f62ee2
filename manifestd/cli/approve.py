"""``approve``: ask for approvals, sign them, bring them back, see who is missing, take one back."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manifestd._version import TOOL
from manifestd.cli.approve_text import request_text, status_text
from manifestd.cli.context import Context
from manifestd.cli.named_file import naming, read_named
from manifestd.cli.options import FORMAT, KEY, text
from manifestd.cli.output import emit, emit_json, file_named, say
from manifestd.display import printable
from manifestd.errors import UsageError
from manifestd.model.moment import parse_span

if TYPE_CHECKING:
    from manifestd.model.approvals import ApprovalResult
    from manifestd.signing.base import Signer
    from manifestd.store import Store

_WAYS = "--request, --sign, --add, --status, --shown and --revoke"
_REQUESTS = "a request is made by `manifestd approve NAME:TAG REF --request -o FILE`"
_APPROVALS = "an approval is made by `manifestd approve --sign REQUEST --key KEY -o FILE`"


@click.command(
    epilog="Example: manifestd approve gpt2:production hf://openai-community/gpt2. Exit codes: "
    "0 done, and it counts; with --status: enough approved. 1 it does not count, or approvals are "
    "missing. 2 no key, or wrong usage. 3 not stored, or expired. 4 a key that may not approve."
)
@click.argument("names", nargs=-1, metavar="[NAME:TAG [REF]]")
@click.option("--request", is_flag=True, help="Write what approvers see and sign to -o FILE.")
@click.option(
    "--sign", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Approve what a request file shows; needs a key, no store. Writes to -o FILE.",
)  # fmt: skip
@click.option(
    "--add", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", multiple=True,
    help="Bring back what --sign wrote.",
)  # fmt: skip
@click.option("--status", is_flag=True, help="Show who approved, and who is missing.")
@click.option("--shown", metavar="DIGEST", help="Show what the giver of an approval was shown.")
@click.option("--revoke", metavar="DIGEST", help="Take an approval back. Needs --reason.")
@click.option("--reason", type=text, help="Why; kept with the approval or the revocation.")
@click.option(
    "--valid-for", metavar="SPAN", help="How long the approval counts: 36h, 90d (default), 4w."
)
@KEY
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write."
)
@FORMAT
@click.pass_obj
def approve(
    context: Context,
    names: tuple[str, ...],
    *,
    request: bool,
    sign: Path | None,
    add: tuple[Path, ...],
    status: bool,
    shown: str | None,
    revoke: str | None,
    reason: str | None,
    valid_for: str | None,
    key: str | None,
    yes: bool,
    output: Path | None,
    form: str,
) -> int:
    """Approve the bytes of a stored snapshot for NAME:TAG.

    An approval is signed by a person's own key. It is bound to the manifest
    digest, the tag, the policy in force and what was shown, and it expires.
    [[tags]] rules of the configuration say how many people of which groups
    must approve before a tag moves and `manifestd gate` opens.
    """
    if sum(map(bool, (request, sign, add, status, shown, revoke))) > 1:
        raise UsageError(f"{_WAYS} exclude each other")
    if sign is not None:
        _no_names(names)
        return _sign(
            context, sign, output=output, reason=reason, valid_for=valid_for, key=key, yes=yes
        )
    if add:
        _no_names(names)
        return _add(context, add, form)
    if shown is not None:
        _no_names(names)
        return _shown(context, shown, form)
    if revoke is not None:
        _no_names(names)
        return _revoke(context, revoke, reason, key, form)
    if status and 1 <= len(names) <= 2:
        return _status(context, names, form)
    if len(names) != 2:
        raise UsageError(
            "a tag and a snapshot are needed",
            hint=f"write: manifestd approve NAME:TAG REF, or one of {_WAYS}",
        )
    if request:
        return _request(context, names, output, valid_for)
    return _approve(context, names, reason=reason, valid_for=valid_for, key=key, form=form, yes=yes)


def _request(
    context: Context, names: tuple[str, ...], output: Path | None, valid_for: str | None
) -> int:
    from manifestd.workflows.approving import keep_request

    with context.change_store() as store:
        data = _made(context, store, names, valid_for)
        keep_request(store, data)
    emit(data.decode(), output)
    if file_named(output) is not None:
        emit(f"{printable(str(output))} shows what is to be approved. An approver signs it with:\n"
             f"  manifestd approve --sign {printable(str(output))} --key KEY -o FILE\n")  # fmt: skip
    return 0


def _sign(
    context: Context,
    path: Path,
    *,
    output: Path | None,
    reason: str | None,
    valid_for: str | None,
    key: str | None,
    yes: bool,
) -> int:
    from manifestd.model.approvals import MAX_REQUEST, read_request
    from manifestd.workflows.approving import sign_request

    data = read_named(path, MAX_REQUEST)
    with naming(path, _REQUESTS):
        shown = read_request(data)
    signer = _signer(context, key)
    say(request_text(shown), stream=sys.stderr)
    _confirm(yes=yes)
    bundle = sign_request(
        data, signer, now=datetime.now(UTC), tool=TOOL, reason=reason,
        valid_for=parse_span(valid_for) if valid_for else None,
    )  # fmt: skip
    emit(bundle.decode(), output)
    if file_named(output) is not None:
        emit(f"Approved. Send {printable(str(output))} back, where it is added with:\n"
             f"  manifestd approve --add {printable(str(output))}\n")  # fmt: skip
    return 0


def _add(context: Context, paths: tuple[Path, ...], form: str) -> int:
    from manifestd.model.approvals import MAX_REQUEST
    from manifestd.workflows.approving import add_approval

    code = 0
    desk = context.desk()
    if len(paths) > 1 and form == "json":
        raise UsageError("--format json prints one document", hint="add one file at a time")
    bundles = [(path, read_named(path, MAX_REQUEST).strip()) for path in paths]
    with context.change_store() as store:
        for path, bundle in bundles:
            with naming(path, _APPROVALS):
                result = add_approval(store, desk, bundle)
            code = max(code, _show(result, form))
    return code


def _approve(
    context: Context,
    names: tuple[str, ...],
    *,
    reason: str | None,
    valid_for: str | None,
    key: str | None,
    form: str,
    yes: bool,
) -> int:
    from manifestd.model.approvals import read_request
    from manifestd.workflows.approving import (
        add_approval,
        keep_request,
        sign_request,
    )

    signer = _signer(context, key)
    with context.change_store() as store:
        data = _made(context, store, names, valid_for)
        say(request_text(read_request(data)), stream=sys.stderr)
        _confirm(yes=yes)
        bundle = sign_request(data, signer, now=datetime.now(UTC), tool=TOOL, reason=reason)
        with store.transaction():
            keep_request(store, data)
            result = add_approval(store, context.desk(), bundle)
    return _show(result, form)


def _revoke(context: Context, digest: str, reason: str | None, key: str | None, form: str) -> int:
    from manifestd.workflows.revoking import revoke_approval

    desk = context.desk(context.signer(key))
    with context.change_store() as store:
        result = revoke_approval(store, desk, digest, reason or "")
    _show(result, form)
    return 0


def _shown(context: Context, approval: str, form: str) -> int:
    from manifestd.model.approvals import read_request
    from manifestd.workflows.approving import shown_request

    with context.open_store() as store:
        data = shown_request(store, approval)
    emit(data.decode() if form == "json" else f"{request_text(read_request(data))}\n")
    return 0


def _status(context: Context, names: tuple[str, ...], form: str) -> int:
    from manifestd.model.tag import check_tag
    from manifestd.workflows.approvals import approval_status

    tag = check_tag(names[0])
    with context.open_store() as store:
        if len(names) == 1 and store.tags.target(tag) is None:
            raise UsageError(
                f"{tag} names nothing yet, so say which snapshot is meant",
                hint=f"write: manifestd approve --status {tag} REF",
            )
        snapshot = store.snapshots.resolve(names[-1])
        found = approval_status(store, context.desk(), tag, snapshot)
    if form == "json":
        emit_json(found)
    else:
        emit(status_text(found))
    return 0 if found.holds else 1


def _made(context: Context, store: Store, names: tuple[str, ...], valid_for: str | None) -> bytes:
    from manifestd.workflows.approving import VALID_FOR, make_request

    span = parse_span(valid_for) if valid_for else VALID_FOR
    return make_request(store, context.desk(), names[0], names[1], valid_for=span)


def _show(result: ApprovalResult, form: str) -> int:
    """Print what was done; 0 when it counts now."""
    state = next((a for a in result.status.approvals if a.approval == result.approval), None)
    counts = state is not None and state.counts
    if form == "json":
        emit_json(result)
        return 0 if counts else 1
    word = {"approved": "approved", "revoked": "revoked the approval of",
            "unchanged": "had already approved" if counts else "changed nothing for"}  # fmt: skip
    emit(f"{printable(result.by)} {word[result.action]} {result.status.tag}\n"
         f"  approval  {result.approval}\n")  # fmt: skip
    if state is not None and not counts and result.action != "revoked":
        say(f"Warning: this approval does not count: {printable(state.why or '')}")
    if result.request_known is False:
        say(f"Warning: what {printable(result.by)} was shown is no request of this store: it was"
            " made elsewhere, or changed on its way. Ask what they saw.")  # fmt: skip
    emit(status_text(result.status))
    return 0 if counts else 1


def _signer(context: Context, key: str | None) -> Signer:
    from manifestd.signing.base import needed

    return needed(context.signer(key), "an approval")


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not os.isatty(0):
        raise UsageError(
            "nobody is there to confirm what is approved", hint="add --yes if it was looked at"
        )
    click.confirm("Sign this approval?", abort=True, err=True)


def _no_names(names: tuple[str, ...]) -> None:
    if names:
        raise UsageError(f"not expected here: {printable(' '.join(names))}",
                         hint="the file or digest says what it is about")  # fmt: skip
