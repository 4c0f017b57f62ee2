"""The tables, as migrations: the one place to change when a table is added.

Imported only when a schema is made or brought up to date, because sqlite_utils
takes 0.12 s to import. To add a table: append a function, and count
``database.VERSION`` up by one. Never change a function that was released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from sqlite_utils import Database as Tables
from sqlite_utils import Migrations
from sqlite_utils.db import AlterError, Table

from manifestd.model.logentry import Fact
from manifestd.store.blobs import Blobs
from manifestd.store.database import APPLICATION_ID, VERSION, Database, header
from manifestd.store.faults import ERRORS
from manifestd.store.log import Log
from manifestd.store.rows import decode_record
from manifestd.store.snapshots import facts_of

migrations: Final = Migrations("manifestd")

INDEX_TABLES: Final = ("signature", "snapshot")
LOG_TABLES: Final = ("log_node", "log")
"""What ``store rebuild`` drops and makes again from the blobs; children before parents."""


@migrations()
def m0001_blobs_snapshots_journal(tables: Tables) -> None:
    """Blobs (the truth), snapshots and signatures (their index), the journal (unfinished runs)."""
    # A rowid table: in a table keyed by digest, rows of some KB would spill to overflow pages.
    blob = _table(tables, "blob")
    blob.create(
        {"id": int, "digest": bytes, "kind": str, "encoding": str, "size": int, "data": bytes},
        pk="id",
        not_null={"digest", "kind", "encoding", "size", "data"},
    )
    blob.create_index(["digest"], unique=True)
    create_index_tables(tables)
    journal = _table(tables, "journal")
    journal.create(
        {"id": int, "key": str, "path": str, "token": str, "data": bytes},
        pk="id",
        not_null={"key", "path", "token", "data"},
    )
    journal.create_index(["key", "path"], unique=True)


@migrations()
def m0002_history_log(tables: Tables) -> None:
    """The history log's entries and the nodes of its tree (an index of blobs, too)."""
    create_log_tables(tables)


@migrations()
def m0003_runs(tables: Tables) -> None:
    """Runs and what came of each of their models; the documents are blobs."""
    run = _table(tables, "run")
    run.create(
        {"id": int, "run_id": str, "started": int, "document": bytes},
        pk="id",
        not_null={"run_id", "started"},
    )
    run.create_index(["run_id"], unique=True)
    model = _table(tables, "run_model")
    model.create(
        {
            "run": int, "position": int, "name": str, "result": str, "exit": int,
            "document": bytes,
        },
        pk=("run", "position"),
        not_null={"run", "position", "name", "result", "exit", "document"},
        foreign_keys=[("run", "run", "id")],
    )  # fmt: skip
    model.create_index(["name", "run"])


@migrations()
def m0004_notified(tables: Tables) -> None:
    """What each notification channel was told."""
    _table(tables, "notified").create(
        {"channel": str, "key": str, "data": bytes},
        pk=("channel", "key"),
        not_null={"channel", "key", "data"},
    )


@migrations()
def m0005_log_kinds(tables: Tables) -> None:
    """Entries of a kind are found without reading those of others: approvals among snapshots."""
    _table(tables, "log").create_index(["kind", "id"], if_not_exists=True)


def create_log_tables(tables: Tables) -> None:
    """Make the tables of :data:`LOG_TABLES`, empty."""
    log = _table(tables, "log")
    log.create(
        {"id": int, "blob": int, "kind": str, "tag": str, "document": bytes, "at": int},
        pk="id",
        not_null={"blob", "kind", "document", "at"},
        foreign_keys=[("blob", "blob", "id")],
    )
    log.create_index(["kind", "id"])
    log.create_index(["tag", "id"])
    log.create_index(["document"])
    _table(tables, "log_node").create(
        {"level": int, "position": int, "hash": bytes},
        pk=("level", "position"),
        not_null={"level", "position", "hash"},
    )


def create_index_tables(tables: Tables) -> None:
    """Make the tables of :data:`INDEX_TABLES`, empty."""
    snapshot = _table(tables, "snapshot")
    snapshot.create(
        {
            "id": int,
            "digest": bytes,
            "manifest": bytes,
            "name": str,
            "source": str,
            "requested": str,
            "revision": str,
            "captured": int,
            "captured_at": str,
            "complete": int,
            "files": int,
            "bytes": int,
        },
        pk="id",
        not_null={
            "digest", "name", "source", "captured", "captured_at", "complete", "files", "bytes",
        },
        foreign_keys=[("id", "blob", "id")],
    )  # fmt: skip
    snapshot.create_index(["digest"], unique=True)
    for column in ("manifest", "name", "source"):
        snapshot.create_index([column, "captured"])
    snapshot.create_index(["captured"])
    _table(tables, "signature").create(
        {"snapshot": int, "bundle": int},
        pk=("snapshot", "bundle"),
        not_null={"snapshot", "bundle"},
        foreign_keys=[("snapshot", "snapshot", "id"), ("bundle", "blob", "id")],
    )


def migrate(database: Database) -> None:
    """Make the schema, or bring it up to date, in one transaction.

    Two processes may come here together; the second finds the work done.
    """
    with database.transaction():
        ours, version = header(database)
        if ours and version >= VERSION:
            return
        migrations.apply(tables_of(database))
        if ours and version < 2:
            adopt_snapshots(database, datetime.now(UTC))
        database.run(f"PRAGMA application_id={APPLICATION_ID}")
        database.run(f"PRAGMA user_version={VERSION}")


def tables_of(database: Database) -> Tables:
    """The connection as sqlite_utils sees it; plugins of other packages stay out."""
    return Tables(database.connection, execute_plugins=False, recursive_triggers=False)


def adopt_snapshots(database: Database, at: datetime) -> None:
    """Log the snapshots and signatures of a store that is older than the log, oldest first."""
    blobs = Blobs(database)
    log = Log(database, blobs)
    for (raw,) in database.all("SELECT digest FROM snapshot ORDER BY id"):
        log.append("snapshot", "sha256:" + raw.hex(), at, facts_of(decode_record(blobs.fetch(raw))))
    for bundle, snapshot in database.all(
        "SELECT blob.digest, snapshot.digest FROM signature"
        " JOIN blob ON blob.id = signature.bundle JOIN snapshot ON snapshot.id = signature.snapshot"
        " ORDER BY signature.bundle, signature.snapshot"
    ):
        facts: dict[str, Fact] = {"snapshot": "sha256:" + snapshot.hex()}
        log.append("signature", "sha256:" + bundle.hex(), at, facts)


def rebuild_log_tables(database: Database) -> None:
    """Drop and make again, empty, the tables of the log. Call it inside a transaction."""
    _rebuild(database, LOG_TABLES, create_log_tables)


def rebuild_index_tables(database: Database) -> None:
    """Drop and make again, empty, every table of the index. Call it inside a transaction."""
    _rebuild(database, INDEX_TABLES, create_index_tables)


def _rebuild(database: Database, names: Iterable[str], create: Callable[[Tables], None]) -> None:
    for name in names:
        database.run(f"DROP TABLE IF EXISTS {name}")
    try:
        create(tables_of(database))
    except (*ERRORS, AlterError) as error:  # by sqlite-utils: the disk is full, a table is gone
        database.fail(error)


def _table(tables: Tables, name: str) -> Table:
    table = tables[name]
    assert isinstance(table, Table)
    return table
