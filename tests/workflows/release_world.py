"""A team that releases models: people with keys, a rule about approvals, a store, two snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from manifestd.config import Config, parse_config
from manifestd.model.approvals import ApprovalResult, ApprovalStatus
from manifestd.model.digest import Digest
from manifestd.model.logentry import time_text
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.trust import load_trust
from manifestd.store import Store, open_store
from manifestd.workflows.approvals import approval_status
from manifestd.workflows.approving import add_approval, make_request, sign_request
from manifestd.workflows.desk import Desk
from manifestd.workflows.sign import sign_snapshot
from manifestd.workflows.tags import set_tag
from tests.workflows.stored import keep

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAG = "m:production"

TRUST = {
    "ci": ("ci", [], ["snapshot", "tag", "gate"]),
    "alice": ("alice", ["ml"], ["approve"]),
    "alice2": ("alice", ["ml"], ["approve"]),
    "bob": ("bob", ["ml"], ["approve", "snapshot"]),
    "carol": ("carol", ["compliance"], ["approve"]),
    "nina": ("nina", ["ml"], ["snapshot"]),
}
"""Key -> person, groups, what it may. ``stranger`` has a key too, which nobody trusts."""

RULE = """
[[tags]]
pattern = "*:production"
approvals = [{ count = 2, group = "ml" }, { count = 1, group = "compliance" }]
"""


def day(number: float) -> datetime:
    """Noon of the so-many-th day."""
    return START + timedelta(days=number)


@cache
def _key(folder: Path, name: str) -> None:
    new_key(folder / f"{name}.pem")


def configuration(
    *, rules: str = RULE, policy: str = "", without: str = "", more: dict[str, str] | None = None
) -> str:
    """The text of a ``manifestd.toml``.

    Args:
        rules: The ``[[tags]]`` rules.
        policy: The ``[policy]`` section.
        without: A key that is not trusted.
        more: Key -> further lines of its trust entry.
    """
    entries = [
        f'[[trust]]\nkey = "keys/{key}.pem.pub"\nperson = "{person}"\ngroups = {groups}\n'
        f"may = {may}\n{(more or {}).get(key, '')}\n"
        for key, (person, groups, may) in TRUST.items()
        if key != without
    ]
    head = '[signing]\nkey = "keys/ci.pem"\n'
    return head + "".join(entries).replace("'", '"') + rules + policy


class Team:
    """The team in a folder. Every time is given, so that nothing depends on the clock."""

    def __init__(self, folder: Path, keys: Path, **configured: Any) -> None:
        self.folder = folder
        self.path = folder / "snapshots" / "manifestd.db"
        for name in (*TRUST, "stranger"):
            _key(keys, name)
        (folder / "keys").symlink_to(keys)
        self.configure(**configured)

    def configure(self, **configured: Any) -> Config:
        """Write the configuration anew, and have it."""
        text = configuration(**configured)
        (self.folder / "manifestd.toml").write_text(text)
        self.config = parse_config(text.encode(), self.folder / "manifestd.toml")
        self.trust = load_trust(self.config)
        return self.config

    def desk(self, at: datetime = START, *, by: str | None = None) -> Desk:
        signer = None if by is None else self.signer(by)
        return Desk(config=self.config, trust=self.trust, now=at, tool="test", signer=signer)

    def signer(self, name: str) -> FileSigner:
        return FileSigner(str(self.folder / "keys" / f"{name}.pem"))

    def open(self, *, write: bool = True) -> Store:
        return open_store(self.path, write=write)

    def snapshot(
        self, store: Store, text: str, *, by: str | None = "ci", at: datetime = START, **more: Any
    ) -> Digest:
        """A stored snapshot of one small file and a card, signed."""
        files = {"config.json": text.encode(), "README.md": b"---\nlicense: mit\n---\n# M\n"}
        values = {"name": "m", "source": "hf://org/m", "captured_at": time_text(at)} | more
        digest = keep(store, files, at=at, **values)
        if by is not None:
            bundle = sign_snapshot(store.snapshots.load(digest), digest, self.signer(by))
            store.snapshots.attach(digest, bundle, at=at)
        return digest

    def approve(
        self,
        store: Store,
        by: str,
        reference: str,
        *,
        tag: str = TAG,
        at: datetime = START,
        **options: Any,
    ) -> ApprovalResult:
        """Make a request, sign it, bring it back."""
        return add_approval(
            store, self.desk(at), self.signed(store, by, reference, tag=tag, at=at, **options)
        )

    def signed(
        self,
        store: Store,
        by: str,
        reference: str,
        *,
        tag: str = TAG,
        at: datetime = START,
        **options: Any,
    ) -> bytes:
        """An approval that was not brought back yet."""
        request = make_request(store, self.desk(at), tag, reference)
        return sign_request(request, self.signer(by), now=at, tool="test", **options)

    def status(
        self, store: Store, reference: str, *, tag: str = TAG, at: datetime = START
    ) -> ApprovalStatus:
        return approval_status(store, self.desk(at), tag, store.snapshots.resolve(reference))

    def tag(self, store: Store, reference: str, *, tag: str = TAG, at: datetime = START) -> None:
        """Move a tag as the pipeline does."""
        set_tag(store, self.desk(at, by="ci"), tag, reference)
