"""File lists in the store against flat SQLite rows, in one run.

    python benchmarks/store.py [--entries 1000000] [--rounds 3]

Writes a list of files three ways, then a second night's list (1 % of the models
changed) and a scattered one (1 % of the files), and compares each with the first.
Wall times are the best of the rounds; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import sqlite_utils

from benchmarks.parts.file_lists import Listed, changed, listing
from manifestd.store import Store, open_store


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def write_tree(store: Store, entries: list[Listed]) -> str:
    with store.transaction():
        writer = store.trees.content_writer()
        add = writer.add
        for path, size, digest in entries:
            add(path, size, digest)
        return writer.finish()


class Flat:
    """Rows keyed by (list, path): the fastest flat layout measured."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.execute(
            "CREATE TABLE file(list INT, path TEXT, size INT, sha256 BLOB,"
            " PRIMARY KEY(list, path)) WITHOUT ROWID"
        )

    def write(self, number: int, entries: list[Listed]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO file VALUES (?, ?, ?, ?)",
            ((number, path, size, bytes.fromhex(digest)) for path, size, digest in entries),
        )
        self.connection.execute("COMMIT")

    def diff(self, left: int, right: int) -> int:
        """Anti-joins both ways on the primary key: the fastest SQL measured."""
        (changes,) = self.connection.execute(
            "SELECT count(*) FROM file a LEFT JOIN file b ON b.list = ? AND b.path = a.path"
            " WHERE a.list = ? AND (b.path IS NULL OR b.sha256 <> a.sha256 OR b.size <> a.size)",
            (right, left),
        ).fetchone()
        (added,) = self.connection.execute(
            "SELECT count(*) FROM file a LEFT JOIN file b ON b.list = ? AND b.path = a.path"
            " WHERE a.list = ? AND b.path IS NULL",
            (left, right),
        ).fetchone()
        return int(changes) + int(added)


def with_sqlite_utils(path: Path, entries: list[Listed]) -> None:
    tables = sqlite_utils.Database(path)
    table = tables["file"]
    assert isinstance(table, sqlite_utils.db.Table)
    rows: Iterator[dict[str, object]] = (
        {"path": file, "size": size, "sha256": digest} for file, size, digest in entries
    )
    table.insert_all(rows, pk="path")
    tables.close()


def settled(path: Path) -> int:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def count_differences(store: Store, left: str, right: str) -> int:
    return sum(1 for _ in store.trees.diff(left, right))


def compare_diffs(store: Store, flat: Flat, roots: list[str], rounds: int) -> None:
    names = ("identical", "1 % of models", "1 % of files")
    for number, name in enumerate(names, 1):
        ratios, tree_best, flat_best = [], float("inf"), float("inf")
        for _ in range(rounds):
            tree, found = timed(partial(count_differences, store, roots[0], roots[number]))
            rows, expected = timed(partial(flat.diff, 0, number))
            assert found == expected, (found, expected)
            ratios.append(rows / tree)
            tree_best, flat_best = min(tree, tree_best), min(rows, flat_best)
        print(
            f"diff, {name:14} tree {tree_best * 1000:9.2f} ms   flat {flat_best * 1000:9.1f} ms"
            f"   flat/tree {median(ratios):9.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    entries = listing(options.entries)
    lists = [entries, entries, changed(entries, models=True), changed(entries, models=False)]
    million = options.entries / 1e6
    with tempfile.TemporaryDirectory() as directory:
        path, flat_path = Path(directory, "tree.db"), Path(directory, "flat.db")
        flat = Flat(flat_path)
        roots: list[str] = []
        before = 0
        with open_store(path, write=True) as store:
            for number, name in enumerate(("first", "the same", "1 % of models", "1 % of files")):
                seconds, root = timed(partial(write_tree, store, lists[number]))
                roots.append(str(root))
                size = settled(path)
                flat_seconds, _ = timed(partial(flat.write, number, lists[number]))
                print(
                    f"write, {name:13} tree {million / seconds:6.2f} M/s   flat"
                    f" {million / flat_seconds:6.2f} M/s   tree +{(size - before) / len(entries):6.2f}"
                    f" B an entry   flat {settled(flat_path) / len(entries) / (number + 1):6.1f}"
                )
                before = size
        seconds, _ = timed(lambda: with_sqlite_utils(Path(directory, "utils.db"), entries))
        print(f"write, sqlite-utils insert_all {million / seconds:6.2f} M/s")
        with open_store(path) as store:
            compare_diffs(store, flat, roots, options.rounds)
            seconds, _ = timed(lambda: sum(1 for _ in store.trees.content(roots[0])))
            print(f"read whole list {million / seconds:6.2f} M/s")
        flat.connection.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this program, its lists included: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
