"""``key``: make, list and show signing keys."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table
from manifestd.errors import AmbiguousError, MalformedError, UsageError

if TYPE_CHECKING:
    from manifestd.signing.public import PublicKey
    from manifestd.signing.trust import TrustedKey

_ID = re.compile(r"[0-9a-f]{8,64}\Z")


@click.group()
def key() -> None:
    """Make and show signing keys."""


@key.command(
    epilog="Example: manifestd key new keys/alice.pem. Exit codes: 0 made, 2 nothing was made."
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--algorithm", type=click.Choice(["p256", "ed25519"]), default="p256", show_default=True,
    help="P-256 is what other verifiers (cosign, OMS tools) accept.",
)  # fmt: skip
@click.option(
    "--passphrase", is_flag=True,
    help="Encrypt the key; asks, or takes MANIFESTD_KEY_PASSPHRASE.",
)  # fmt: skip
@FORMAT
def new(path: Path, algorithm: Any, passphrase: bool, form: str) -> None:
    """Make a key pair: PATH (0600, keep it) and PATH.pub (give it to whoever verifies)."""
    from manifestd.signing.file import new_key, public_path

    secret = _new_passphrase() if passphrase else None
    make_directory(path.parent)
    made = new_key(path, algorithm=algorithm, passphrase=secret)
    document = {**_document(made), "private": str(path), "public": str(public_path(path))}
    if form == "json":
        emit_json(document)
        return
    emit(
        table(
            [
                ("private key", f"{path} (mode 0600{', encrypted' if secret else ''})"),
                ("public key", str(public_path(path))),
                ("key id", made.key_id),
                ("algorithm", made.algorithm),
            ]
        )
    )


@key.command(name="list", epilog="Example: manifestd key list. Exit codes: 0, 2.")
@FORMAT
@click.pass_obj
def list_(context: Context, form: str) -> None:
    """List the keys that this configuration trusts, and which one signs."""
    signing = _signing_id(context)
    entries = context.trust().entries
    if form == "json":
        emit_json(
            {
                "schema": "manifestd.keys/v1",
                "signing": {"key": context.config.signing_key(), "keyId": signing},
                "trusted": [_trusted_document(entry) for entry in entries],
            }
        )
        return
    rows = [
        (
            entry.key.key_id[:12],
            entry.key.algorithm,
            entry.person,
            ", ".join(entry.groups) or "-",
            ", ".join(entry.may) or "-",
            _span(entry),
            "yes" if entry.key.key_id == signing else "",
        )
        for entry in entries
    ]
    header = ("key id", "algorithm", "person", "groups", "may", "counts", "signs here")
    emit(table(rows, header) if rows else "no key is trusted\n")
    configured = context.config.signing_key()
    if configured is None:
        emit("no key signs here: snapshots will be unsigned\n")
    elif signing not in {entry.key.key_id for entry in entries}:
        emit(table([("signs, not trusted here", (signing or "?")[:12], configured)]))


@key.command(epilog="Example: manifestd key show keys/alice.pem.pub. Exit codes: 0, 2, 3.")
@click.argument("which", metavar="PATH|ID")
@FORMAT
@click.pass_obj
def show(context: Context, which: str, form: str) -> None:
    """Show a key file's public half, or a trusted key by the start of its id."""
    found = _find(context, which)
    entries = context.trust().entries_of(found)
    if form == "json":
        emit_json({**_document(found), "trusted": [_trusted_document(item) for item in entries]})
        return
    trusted = [f"{entry.person}: {', '.join(entry.may)} ({_span(entry)})" for entry in entries]
    rows = [
        ("key id", found.key_id),
        ("hint", found.hint),
        ("algorithm", found.algorithm),
        *(("trusted", text) for text in trusted or ["no"]),
    ]
    emit(table(rows) + found.pem.decode())


def make_directory(path: Path) -> None:
    """Make the directory of a key, for its owner only, unless it is there.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"directory {path} cannot be made: {error.strerror}") from error


def _new_passphrase() -> str:
    from manifestd.signing.file import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    if not os.isatty(0):
        raise UsageError(
            "there is no terminal to ask for a passphrase",
            hint=f"set {PASSPHRASE_VARIABLE}",
        )
    asked: str = click.prompt(
        "Passphrase", hide_input=True, confirmation_prompt=True, err=True, type=str
    )
    return asked


def _find(context: Context, which: str) -> PublicKey:
    from manifestd.signing.public import read_public_key

    if "://" not in which and not Path(which).exists() and _ID.match(which):
        return _trusted_by_id(context, which)
    if "://" not in which and not _is_private(Path(which)):
        try:
            return read_public_key(Path(which).read_bytes())
        except MalformedError as error:
            raise UsageError(f"{which}: {error.what}", hint=error.hint) from error
    signer = context.signer(which)
    assert signer is not None
    return read_public_key(signer.public_pem())


def _is_private(path: Path) -> bool:
    """Whether it looks like a private key: then the signer reads it, with its checks."""
    from manifestd.signing.public import MAX_PEM

    try:
        if not path.is_file() or path.stat().st_size > MAX_PEM:
            raise UsageError(
                f"{path} is neither a key file nor the id of a trusted key",
                hint="`manifestd key list` shows the trusted keys",
            )
        return b"PRIVATE KEY" in path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _trusted_by_id(context: Context, prefix: str) -> PublicKey:
    found = [
        trusted
        for trusted in context.trust().public_keys()
        if trusted.key_id.startswith(prefix) or trusted.hint.startswith(prefix)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousError(
            f"{prefix} is the start of several key ids",
            facts={"candidates": [trusted.key_id for trusted in found]},
        )
    raise UsageError(
        f"no trusted key has the id {prefix}", hint="`manifestd key list` shows those there are"
    )


def _signing_id(context: Context) -> str | None:
    """The id of the key that signs, if a public half lies beside it; asks nobody for it."""
    from manifestd.signing.file import public_path
    from manifestd.signing.public import read_public_key

    uri = context.config.signing_key()
    if uri is None or "://" in uri:
        return None
    try:
        return read_public_key(public_path(Path(uri)).read_bytes()).key_id
    except (OSError, MalformedError):
        return None


def _document(public: PublicKey) -> dict[str, Any]:
    return {
        "schema": "manifestd.key/v1",
        "keyId": public.key_id,
        "hint": public.hint,
        "algorithm": public.algorithm,
        "pem": public.pem.decode(),
    }


def _trusted_document(entry: TrustedKey) -> dict[str, Any]:
    return {
        "keyId": entry.key.key_id,
        "algorithm": entry.key.algorithm,
        "person": entry.person,
        "groups": entry.groups,
        "may": entry.may,
        "from": entry.from_,
        "until": entry.until,
    }


def _span(entry: TrustedKey) -> str:
    """When the key counts, both days included."""
    parts = [
        f"from {entry.from_:%Y-%m-%d}" if entry.from_ else "",
        f"until {entry.until:%Y-%m-%d}" if entry.until else "",
    ]
    return " ".join(filter(None, parts)) or "always"
