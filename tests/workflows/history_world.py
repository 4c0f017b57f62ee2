"""A small firm: keys in files, a configuration that trusts them, a store with snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from manifestd.config import Config, parse_config
from manifestd.model.digest import Digest
from manifestd.model.history import TagResult
from manifestd.signing.file import FileSigner, new_key
from manifestd.signing.trust import Trust, load_trust
from manifestd.store import Store, open_store
from manifestd.workflows.desk import Desk
from manifestd.workflows.sign import sign_snapshot
from manifestd.workflows.tags import set_tag
from tests.workflows.stored import keep

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def day(number: float) -> datetime:
    """Noon of the so-many-th day."""
    return START + timedelta(days=number)


class Firm:
    """Alice may do everything, ed has an Ed25519 key, bob may take snapshots only, carol and dora approve."""

    def __init__(self, folder: Path, *, rules: str = "", alice_until: str = "") -> None:
        self.folder = folder
        self.path = folder / "s.db"
        for name in ("alice", "bob", "carol", "dora", "ed", "stranger"):
            if not (folder / f"{name}.pem").exists():
                new_key(folder / f"{name}.pem", algorithm="ed25519" if name == "ed" else "p256")
        until = f"until = {alice_until}\n" if alice_until else ""
        self.config = self.configured(
            f"""
            [[trust]]
            key = "alice.pem.pub"
            person = "alice"
            may = ["snapshot", "tag"]
            {until}
            [[trust]]
            key = "bob.pem.pub"
            person = "bob"
            [[trust]]
            key = "carol.pem.pub"
            person = "carol"
            may = ["approve"]
            [[trust]]
            key = "dora.pem.pub"
            person = "dora"
            may = ["approve"]
            [[trust]]
            key = "ed.pem.pub"
            person = "ed"
            may = ["snapshot", "tag"]
            {rules}
            """
        )
        self.trust: Trust = load_trust(self.config)

    def configured(self, text: str) -> Config:
        """A configuration in this folder."""
        return parse_config(text.encode(), self.folder / "manifestd.toml")

    def signer(self, name: str = "alice") -> FileSigner:
        return FileSigner(str(self.folder / f"{name}.pem"))

    def open(self, *, write: bool = False) -> Store:
        return open_store(self.path, write=write)

    def snapshot(
        self, store: Store, text: str, *, at: datetime = START, by: str | None = "alice",
        **changed: Any,
    ) -> Digest:  # fmt: skip
        """A stored snapshot of one small file, logged and signed at that time."""
        from manifestd.model.logentry import time_text

        values = {"name": "m", "source": "hf://org/m", "captured_at": time_text(at)} | changed
        digest = keep(store, {"config.json": text.encode()}, at=at, **values)
        if by is not None:
            bundle = sign_snapshot(store.snapshots.load(digest), digest, self.signer(by))
            store.snapshots.attach(digest, bundle, at=at)
        return digest

    def desk(self, by: str | None = "alice", at: datetime = START) -> Desk:
        return Desk(
            config=self.config,
            trust=self.trust,
            signer=None if by is None else self.signer(by),
            now=at,
            tool="test",
        )

    def tag(
        self, store: Store, tag: str, reference: str, *, at: datetime = START, **options: Any
    ) -> TagResult:
        """Set a tag as alice, or as ``by``."""
        desk = self.desk(options.pop("by", "alice"), at)
        return set_tag(store, desk, tag, reference, **options)
