"""``init``: a configuration, a signing key that it trusts, and the store. Overwrites nothing."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from manifestd.cli.context import STORE_ENDINGS, Context
from manifestd.cli.key import make_directory
from manifestd.cli.options import text
from manifestd.cli.output import emit, table
from manifestd.errors import UsageError

_TEMPLATE = """\
# manifestd: signed snapshots of model repositories, compared offline.
# Paths are relative to this file.

[store]
path = {store}

[signing]
key = "keys/manifestd.pem"              # keep it private; give out keys/manifestd.pem.pub

[[trust]]                               # whose signatures count, and for what
key = "keys/manifestd.pem.pub"
person = {person}
may = ["snapshot", "tag"]

# A colleague or a pipeline whose snapshots count here too:
# [[trust]]
# key = "keys/alice.pub"
# person = "alice"
# groups = ["ml"]
# may = ["snapshot", "approve"]
# until = 2027-12-31

[defaults]
read = "missing"                        # only the bytes that a sha256 of every file needs
ignore = []                             # globs of files to leave out; recorded in each snapshot

# Where each model lives; the first side is the reference.
# sides = {{ hub = "hf://{{name}}@main", mirror = "s3://YOUR-BUCKET/{{name}}/" }}
#
# [[model]]
# name = "openai-community/gpt2"
"""


@click.command(epilog="Example: manifestd init. Exit codes: 0 made, 2 something is there already.")
@click.argument(
    "directory", default=".", type=click.Path(path_type=Path, file_okay=False), required=False
)
@click.option("--person", type=text, help="Who holds the key (default: the user's name).")
@click.pass_obj
def init(context: Context, directory: Path, person: str | None) -> None:
    """Write manifestd.toml, a signing key that it trusts, and the store, in DIRECTORY."""
    from manifestd.config import DEFAULT_STORE, FILE_NAME, parse_config
    from manifestd.config.toml import quoted
    from manifestd.signing.file import new_key, public_path
    from manifestd.store import open_store

    config = directory / FILE_NAME
    key = directory / "keys" / "manifestd.pem"
    store = context.store_file or directory / DEFAULT_STORE
    for path in (config, key, public_path(key), store):
        if os.path.lexists(path):
            raise UsageError(
                f"{path} exists, and init overwrites nothing",
                hint="name another directory: manifestd init DIRECTORY",
            )
    stored = DEFAULT_STORE if context.store_file is None else str(store.absolute())
    text = _TEMPLATE.format(store=quoted(stored), person=quoted(person or _user()))
    parse_config(text.encode(), config)

    make_directory(key.parent)
    public = new_key(key)
    try:
        _keep_out_of_git(key.parent)
        open_store(store, write=True).close()
        # Last, so that a configuration is only there when all it names is.
        _write_new(config, text)
    except BaseException:
        # Nothing of it was there before; what stays would keep the next try from starting.
        for path in (key, public_path(key), *(Path(f"{store}{end}") for end in STORE_ENDINGS)):
            path.unlink(missing_ok=True)
        raise
    emit(
        table(
            [
                ("configuration", str(config)),
                ("signing key", f"{key} (mode 0600; trusted in this configuration)"),
                ("key id", public.key_id),
                ("store", str(store)),
            ]
        )
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "me"


def _keep_out_of_git(directory: Path) -> None:
    """Private keys must not be committed by `git add .`; an own rule there stays as it is."""
    path = directory / ".gitignore"
    if not os.path.lexists(path):
        _write_new(path, "*.pem\n")


def _write_new(path: Path, text: str) -> None:
    there = os.path.lexists(path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if not there:  # half of it, on a full disk
            path.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
