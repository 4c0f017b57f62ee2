"""``lint``: what is odd about the store as a whole. Offline; reads file lists, not contents."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from manifestd.config import Config
from manifestd.display import size_text
from manifestd.formats.names import reader_name
from manifestd.model.entry import File
from manifestd.model.finding import LintFinding, LintReport
from manifestd.model.snapshot import Snapshot
from manifestd.store import Store
from manifestd.store.rows import Row
from manifestd.workflows.sides import sides_of

MIN_SIZE: Final = 1024 * 1024
"""Bytes from which equal weights under two names are worth a word."""

MAX_OF_ONE: Final = 20
"""Findings of one rule listed for one snapshot; the last says how many more there are."""

_NUMBERED: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.[A-Za-z0-9_.]+)\Z")
_INDEXED: Final = (".safetensors", ".bin")
"""Shards of these formats need an index to be found; those of GGUF name their set themselves."""


def lint_store(
    store: Store, config: Config, *, min_size: int = MIN_SIZE, history: bool = False
) -> LintReport:
    """Look for anomalies.

    Args:
        store: Opened for reading.
        config: Says which models there should be.
        min_size: Smallest weight file, in bytes, that may not stand under two names.
        history: Look at every snapshot, not at the latest of each place only.

    Raises:
        TamperedError: The store does not hold what its records say.
        ConfigError: A model's side cannot be made of its template.
    """
    rows = store.snapshots.list()
    if not history:
        rows = list({row.source: row for row in reversed(rows)}.values())
        rows.reverse()
    names = _Names(config)
    copies = _Copies(min_size)
    findings: list[LintFinding] = []
    for row in rows:
        record = store.snapshots.load(row.digest)
        findings += _one(store, row, record, copies, names.of(row))
    findings += copies.findings()
    findings += _not_mirrored({row.source.rstrip("/") for row in rows}, names)
    order = ("one-digest-two-models", "shards", "not-mirrored", "twins", "clash", "incomplete")
    findings.sort(key=lambda finding: order.index(finding.rule))
    return LintReport(snapshots=len(rows), findings=findings)


class _Names:
    """What the models are called: by the configuration, else as their snapshots are filed."""

    def __init__(self, config: Config) -> None:
        self.sides = {model.name: sides_of(config, model.name) for model in config.model}
        self._models = {
            place.rstrip("/"): name
            for name, sides in self.sides.items()
            for place in sides.values()
        }

    def of(self, row: Row) -> str:
        return self._models.get(row.source.rstrip("/"), row.name)


class _Copies:
    """Weight files by digest, and the names of the models they were seen under."""

    def __init__(self, min_size: int) -> None:
        self._min_size = min_size
        self._sizes: dict[str, int] = {}
        self._seen: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)

    def add(self, file: File, model: str, source: str) -> None:
        """Note a weight file."""
        if file.sha256 is None or file.size < self._min_size or file.seen.role != "weights":
            return
        self._sizes[file.sha256] = file.size
        self._seen[file.sha256].setdefault(model, (source, file.path))

    def findings(self) -> Iterator[LintFinding]:
        """One finding for each group of names that share files."""
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for sha256, seen in self._seen.items():
            names = tuple(sorted(distinct(seen)))
            if len(names) > 1:
                groups[names].append(sha256)
        for names, digests in sorted(groups.items()):
            size = size_text(sum(self._sizes[digest] for digest in digests))
            many = "1 weight file" if len(digests) == 1 else f"{len(digests)} weight files"
            first = self._seen[digests[0]]
            yield LintFinding(
                rule="one-digest-two-models",
                what=f"{many} ({size}) the same under {len(names)} names: {', '.join(names[:6])}",
                hint="a copy under another name escapes rules about the first; keep one of them",
                facts={
                    "models": list(names),
                    "digests": [f"sha256:{digest}" for digest in digests[:MAX_OF_ONE]],
                    "files": len(digests),
                    "places": [{"source": first[n][0], "path": first[n][1]} for n in names],
                },
            )


def distinct(names: Iterable[str]) -> list[str]:
    """Names of different models; ``gpt2`` is ``openai-community/gpt2`` where both are there.

    Example:
        >>> distinct(["gpt2", "openai-community/gpt2", "other/gpt2"])
        ['openai-community/gpt2', 'other/gpt2']
    """
    names = list(names)
    last = {name.rpartition("/")[2].lower() for name in names if "/" in name}
    return [name for name in names if "/" in name or name.lower() not in last]


def _how_to_complete(digest: str, record: Snapshot) -> str:
    if record.selection.read == "none":
        return "take it again with --read missing"
    return f"run `manifestd show {digest[:19]}`, which lists the problems"


def _one(
    store: Store, row: Row, record: Snapshot, copies: _Copies, model: str
) -> Iterator[LintFinding]:
    """What is odd about one snapshot; its weights are noted on the way."""
    place: dict[str, Any] = {"snapshot": row.digest, "source": row.source}
    if not record.complete:
        worst = next((p for p in record.problems if p.severity == "error"), None)
        unknown = record.evidence.none
        what = f"the snapshot is incomplete: {unknown} of {record.files} files have no sha256"
        yield LintFinding(
            rule="incomplete",
            what=f"{what}; {worst.what}" if worst else what,
            hint=worst.hint if worst and worst.hint else _how_to_complete(row.digest, record),
            facts={"unknown": unknown, "problems": len(record.problems)},
            **place,
        )
    twins = _Twins()
    clashes = _Clashes()
    weights: list[File] = []
    for file in store.trees.files(record):
        copies.add(file, model, row.source)
        twins.add(file.path)
        clashes.add(file.path)
        if file.seen.role == "weights" or ".index." in file.path:
            weights.append(file)
    yield from _capped(
        LintFinding(rule="shards", what=what, path=path, hint=hint, **place)
        for path, what, hint in _shards(store, weights)
    )
    if twins.found:
        paths = (path for path, _, _ in store.trees.content(record.content))
        yield from _capped(
            LintFinding(
                rule="twins",
                what=f"{len(group)} names that many systems take for one",
                hint="rename all but one; on such a system the last one written wins",
                path=group[0],
                facts={"paths": group[:MAX_OF_ONE]},
                **place,
            )
            for group in twins.groups(paths)
        )
    yield from _capped(
        LintFinding(
            rule="clash",
            what=f"is a file, and a folder with {below} in it: no directory can hold both",
            hint="rename the file, or the folder; a download loses one of them or fails",
            path=path,
            facts={"below": below},
            **place,
        )
        for path, below in clashes.found
    )


class _Clashes:
    """Files that are folders, too: object stores and archives can hold both.

    Paths must come in their order. What begins with the name of a file follows it at once,
    so the files that may still turn out to be folders are a chain, as long as a path at most.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._chain: list[str] = []

    def add(self, path: str) -> None:
        """Note a path."""
        chain = self._chain
        while chain and not path.startswith(chain[-1]):
            chain.pop()
        for index, file in enumerate(chain):
            if path[len(file)] == "/":
                self.found.append((file, path))
                # Once is enough; what comes below is not told again.
                del chain[index]
                break
        chain.append(path)


class _Twins:
    """Paths that are the same where case or normal form does not count. Keeps hashes only."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self.found: set[int] = set()

    def add(self, path: str) -> None:
        """Note a path."""
        key = hash(folded(path))
        if key in self._seen:
            self.found.add(key)
        self._seen.add(key)

    def groups(self, paths: Iterable[str]) -> Iterator[list[str]]:
        """The paths of each group, from all paths once more."""
        groups: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            name = folded(path)
            if hash(name) in self.found:
                groups[name].append(path)
        return (group for group in groups.values() if len(group) > 1)


def folded(path: str) -> str:
    """A path as a file system that ignores case and normal form compares it."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


_SHARDS: Final = "compare with the source: manifestd diff; a loader fails or takes half the weights"
_NUMBERING: Final = (
    "compare with the source: manifestd diff; loaders that go by the index take all of them"
)


def _shards(store: Store, weights: list[File]) -> Iterator[tuple[str, str, str]]:
    """Path, sentence and hint for each shard or index that lacks its others."""
    from manifestd.formats.shardindex import check_shards

    facts = {
        file.path: store.facts(file) for file in weights if reader_name(file.path) == "shardindex"
    }
    paths = {file.path for file in weights}
    for found in check_shards(paths, facts):
        whole = found["rule"] == "shard-numbering" and _enough(facts[found["path"]])
        yield found["path"], found["what"], _NUMBERING if whole else _SHARDS
    named = {
        f"{path.rpartition('/')[0]}/{shard}".lstrip("/")
        for path, fact in facts.items()
        for shard in (fact or {}).get("shards", ())
    }
    # ``model.index.fp16.json`` is an index too, and no reader takes it for one.
    unread = any(".index." in file.path and facts.get(file.path) is None for file in weights)
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in sorted(paths - named):
        if match := _NUMBERED.match(path):
            groups[match[1], match[3], match[4]].append(path)
    for (_, total, suffix), members in groups.items():
        numbers = {int(match[2]) for path in members if (match := _NUMBERED.match(path))}
        missing = int(total) - len(numbers)
        if missing > 0:
            what = f"{len(numbers)} of {int(total)} shards of its set are there"
            yield members[0], what, _SHARDS
        elif suffix.endswith(_INDEXED) and not unread:
            yield members[0], f"{len(members)} shards and no index that names them", _SHARDS


def _enough(index: dict[str, Any] | None) -> bool:
    """Whether an index names as many shards as their names say there are, or more."""
    shards = (index or {}).get("shards", ())
    totals = [int(match[3]) for shard in shards if (match := _NUMBERED.match(shard))]
    return len(shards) >= max(totals, default=0)


def _not_mirrored(places: set[str], names: _Names) -> Iterator[LintFinding]:
    """Configured models of which a side was never snapshotted."""
    for model, sides in names.sides.items():
        missing = {side: place for side, place in sides.items() if place.rstrip("/") not in places}
        if not missing:
            continue
        which = ", ".join(f"{side} ({place})" for side, place in missing.items())
        hint = f"manifestd run --only {model}"
        yield LintFinding(
            rule="not-mirrored",
            what=f"{model} is configured and has no snapshot of {which}",
            hint=hint,
            source=next(iter(missing.values())),
            facts={"model": model, "sides": missing},
        )


def _capped(findings: Iterator[LintFinding]) -> Iterator[LintFinding]:
    last = None
    more = 0
    for number, finding in enumerate(findings):
        if number < MAX_OF_ONE:
            yield finding
        else:
            last, more = finding, more + 1
    if last is not None:
        yield LintFinding(
            rule=last.rule,
            what=f"{more} more findings of this rule, not listed",
            snapshot=last.snapshot,
            source=last.source,
            facts={"more": more},
        )
