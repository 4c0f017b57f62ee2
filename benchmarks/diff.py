"""Comparing two stored lists of a million files, beside git and sorted text, whole processes.

    python benchmarks/diff.py [--entries 1000000] [--rounds 5]

Three pairs: equal lists, 1 % of the models changed, 1 % of the files changed. Each is
asked of the store alone (its tree diff), of ``compare`` as ``manifestd diff`` calls it
(observations, verdicts, the whole document), of ``git diff-tree`` over packed trees of the
same entries, and of ``comm`` over sorted text. Wall times are the best of the rounds;
ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.parts.file_lists import Listed, changed, listing
from manifestd import canonical
from manifestd.model.digest import Digest
from manifestd.model.entry import Observation
from manifestd.model.manifest import Item, manifest_digest
from manifestd.model.snapshot import EvidenceCounts, Selection, Snapshot
from manifestd.store import Store, open_store

TREES = """
import sys
from manifestd.store import open_store
from pathlib import Path
with open_store(Path(sys.argv[1])) as store:
    roots = [store.snapshots.load(digest).content for digest in sys.argv[2:4]]
    print(sum(1 for _ in store.trees.diff(*roots)))
"""
COMPARE = """
import sys
from manifestd.store import open_store
from manifestd.workflows.compare import compare
from pathlib import Path
with open_store(Path(sys.argv[1])) as store:
    print(len(compare(store, sys.argv[2], sys.argv[3]).files))
"""


def keep(store: Store, entries: list[Listed], night: int) -> Digest:
    """A snapshot as S3 gives it: stored evidence, an ETag and a modification time each."""
    with store.transaction():
        content, observation = store.trees.content_writer(), store.trees.observation_writer()
        for path, size, digest in entries:
            content.add(path, size, digest)
            seen = Observation(
                role="weights",
                digests={"crc64nvme": digest[:16]},
                evidence={"sha256": "stored", "crc64nvme": "stored"},
                identity={"etag": f'"{digest[:32]}"', "lastModified": "2026-03-01T10:00:00Z"},
            )
            observation.add(path, seen)
        roots = content.finish(), observation.finish()
    record = Snapshot(
        name="mirror", source="s3://mirror/", requested=None, revision=None,
        captured_at=f"2026-03-0{night}T10:00:00Z", tool="benchmark", selection=Selection(),
        manifest=manifest_digest([Item(*entry) for entry in entries]), complete=True,
        files=len(entries), bytes=sum(size for _, size, _ in entries),
        evidence=EvidenceCounts(stored=len(entries)), content=roots[0], observation=roots[1],
    )  # fmt: skip
    return store.snapshots.add(canonical.encode(record), None)


def git_tree(folder: Path, entries: list[Listed]) -> str:
    """A packed commit-less tree of the same paths; the blobs are named, not stored."""
    environ = {**os.environ, "GIT_INDEX_FILE": str(folder / "index")}
    lines = "".join(f"100644 blob {digest[:40]}\t{path}\n" for path, _, digest in entries)
    (folder / "index").unlink(missing_ok=True)
    git = ["git", "-C", str(folder)]
    subprocess.run(
        [*git, "update-index", "--index-info"], input=lines.encode(), env=environ, check=True
    )
    tree = subprocess.run(
        [*git, "write-tree", "--missing-ok"], env=environ, check=True, capture_output=True
    ).stdout.decode()
    return tree.strip()


def pack(folder: Path) -> None:
    """Pack what there is: trees, whose blobs nobody has."""
    objects = folder / ".git" / "objects"
    names = [path.parent.name + path.name for path in objects.glob("[0-9a-f][0-9a-f]/*")]
    git = ["git", "-C", str(folder)]
    target = str(objects / "pack" / "pack")
    subprocess.run(
        [*git, "pack-objects", "-q", target], input="\n".join(names).encode(), check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run([*git, "prune-packed", "-q"], check=True)


def wall(command: list[str], **options: object) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    first = listing(options.entries)
    lists = {
        "equal": first,
        "1 % of models": changed(first, models=True),
        "1 % of files": changed(first, models=False),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", name], check=True)
        with open_store(folder / "manifestd.db", write=True) as store:
            base = keep(store, first, 1)
            others = {key: keep(store, rows, 2 + i) for i, (key, rows) in enumerate(lists.items())}
        tree = git_tree(folder, first)
        trees = {key: git_tree(folder, rows) for key, rows in lists.items()}
        pack(folder)
        write_lines(folder / "left", first)
        for key, rows in lists.items():
            write_lines(folder / key, rows)
        del first, lists
        for key, other in others.items():
            ours = [str(folder / "manifestd.db"), str(base), str(other)]
            commands = {
                "store's tree diff": [sys.executable, "-c", TREES, *ours],
                "compare": [sys.executable, "-c", COMPARE, *ours],
                "git diff-tree": [
                    "git", "-C", name, "diff-tree", "-r", "--name-status", tree, trees[key],
                ],
                "comm -3": ["comm", "-3", str(folder / "left"), str(folder / key)],
            }  # fmt: skip
            measure(key, commands, options.rounds)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process measured (git's index included): {peak:.0f} MiB")


def write_lines(path: Path, entries: list[Listed]) -> None:
    path.write_text("".join(f"{name}\t{size}\t{digest}\n" for name, size, digest in entries))


def measure(title: str, commands: dict[str, list[str]], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(wall(command, env={**os.environ, "LC_ALL": "C"}))
    git = times["git diff-tree"]
    print(title)
    for name, found in times.items():
        ratio = median(one / other for one, other in zip(found, git, strict=True))
        print(f"  {name:20} {min(found) * 1000:9.1f} ms   {ratio:6.2f} x git diff-tree")


if __name__ == "__main__":
    main()
