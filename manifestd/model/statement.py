"""in-toto Statement v1 and the predicates we write (in-toto attestation spec/v1/statement.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError
from manifestd.model import media_types
from manifestd.model.digest import hex_of

T = TypeVar("T")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about: a name for people, a digest set for machines."""

    name: str
    digest: dict[str, str]


class Statement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"type": "_type", "predicate_type": "predicateType"},
):
    """A claim (the predicate) about subjects. Its canonical bytes are a DSSE payload."""

    type: str = media_types.STATEMENT
    subject: list[Subject]
    predicate_type: str
    predicate: dict[str, Any]


def subjects_of(snapshot: str, manifest: str | None) -> list[Subject]:
    """The subjects of what is said of a snapshot: its manifest, if it has one, then itself."""
    subjects = [Subject(name="snapshot", digest={"sha256": hex_of(snapshot)})]
    if manifest is not None:
        subjects.insert(0, Subject(name="manifest", digest={"sha256": hex_of(manifest)}))
    return subjects


def read_claim(
    payload: bytes,
    kind: type[T],
    write: Callable[[T], bytes],
    *,
    predicate_type: str,
    what: str,
    member: str | None = None,
) -> T:
    """Decode a statement of ours strictly. Whether it is signed is the caller's to know.

    Args:
        payload: Its bytes.
        kind: What its predicate says.
        write: Makes the statement of such a claim.
        predicate_type: The type that it must have.
        what: What it is, for messages: "an approval".
        member: The predicate's member that holds the claim; None: the predicate is the claim.

    Raises:
        MalformedError: Not such a statement, or its parts do not say the same.
        NotCanonicalError: Not its canonical bytes.
    """
    statement = canonical.decode(payload, Statement, name=what)
    found = statement.predicate if member is None else statement.predicate.get(member)
    if statement.predicate_type != predicate_type or found is None:
        raise MalformedError(f"not {what}")
    try:
        claim = msgspec.convert(found, canonical.prepared(kind))
    except msgspec.ValidationError as error:
        raise MalformedError(f"not {what}: {error}") from error
    # Making it again is the shortest way to ask for exactly our subjects and members.
    if write(claim) != payload:
        raise MalformedError(f"the parts of {what} do not say the same")
    return claim
