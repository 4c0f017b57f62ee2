"""What a policy objects to in a snapshot's licence: not allowed, in contradiction, changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from manifestd.model.finding import Rule
from manifestd.rules.licenses import Baseline, LicenceFile, Licences, agree, allowed

_AGAIN: Final = "read the new licence, then approve this snapshot or waive the rule for a time"
_ALLOW: Final = "take the model out of use, or add the licence to policy.licenses once it was read"
_READ: Final = "read it: it should be the text of the licence that is stated, and nothing more"
_KEYS: Final = {"model card": "card", "Hub metadata": "hub", "licence text": "text"}


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says before severities and waivers are looked up.

    Attributes:
        hint: The one thing to do about it.
        only_warn: Worth saying, and never an error.
        facts: The values as data; never a secret.
    """

    rule: Rule
    what: str
    hint: str
    path: str | None = None
    only_warn: bool = False
    facts: Mapping[str, Any] = {}


def licence_objections(
    licences: Licences, baseline: Baseline | None, allow: Sequence[str]
) -> Iterator[Objection]:
    """All objections to a licence.

    Args:
        licences: What is said of it now.
        baseline: What was said before; None: nothing is known.
        allow: Identifiers that are allowed; empty: any.
    """
    if allow:
        yield from _not_allowed(licences, allow)
    yield from _contradictions(licences)
    if baseline is not None:
        yield from _changes(licences, baseline)


def _not_allowed(licences: Licences, allow: Sequence[str]) -> Iterator[Objection]:
    said = 0
    for place, stance in licences.stances().items():
        said += len(stance.ids)
        for name in stance.ids:
            if not allowed(name, allow):
                what = f"{name} is not an allowed licence ({place})"
                facts = {"place": _KEYS[place], "license": name}
                yield Objection(rule="licenses", what=what, hint=_ALLOW, facts=facts)
    if not said:
        unseen = [place for place, stance in licences.stances().items() if not stance.known]
        what = "no licence is stated or recognised"
        if unseen:
            what += f"; not looked at: {', '.join(unseen)}"
        yield Objection(
            rule="licenses", what=what, hint="state it in the model card, or waive the rule"
        )
        return
    for path, file in licences.files.items():
        if file.name is None:
            what = "nothing confirms the licence that is stated: this text is not a known one"
            yield Objection(
                rule="licenses", path=path, what=what, hint=_READ, only_warn=True,
                facts={"sha256": file.sha256},
            )  # fmt: skip


def _contradictions(licences: Licences) -> Iterator[Objection]:
    stances = list(licences.stances().items())
    for number, (place, stance) in enumerate(stances):
        for other, against in stances[number + 1 :]:
            if agree(stance, against):
                continue
            here, there = " or ".join(stance.ids), " or ".join(against.ids)
            yield Objection(
                rule="license_disagreement",
                what=f"the {place} says {here}, the {other} {there}",
                hint="ask the author which holds, and have the other corrected",
                facts={_KEYS[place]: list(stance.ids), _KEYS[other]: list(against.ids)},
            )


def _changes(licences: Licences, base: Baseline) -> Iterator[Objection]:
    since = f"the {base.kind} snapshot of {base.captured_at[:10]}"
    common = {"since": base.kind, "baseline": base.snapshot}
    old_stances, new_stances = base.licences.stances(), licences.stances()
    for place in ("model card", "Hub metadata"):
        before, after = old_stances[place], new_stances[place]
        if not before.known or not after.known or before.ids == after.ids:
            continue
        old, new = (" and ".join(stance.ids) or "none" for stance in (before, after))
        yield Objection(
            rule="license_changed",
            what=f"the licence was {old} in {since} and is {new} now ({place})",
            hint=_AGAIN,
            only_warn=not before.ids,
            facts={"place": _KEYS[place], "before": list(before.ids), "after": list(after.ids)}
            | common,
        )
    for path in sorted(base.licences.files.keys() | licences.files.keys()):
        found = _file_change(base, since, base.licences.files.get(path), licences.files.get(path))
        if found is not None:
            what, only_warn, facts = found
            yield Objection(
                rule="license_changed", path=path, what=what, hint=_AGAIN, only_warn=only_warn,
                facts=facts | common,
            )  # fmt: skip


def _file_change(
    base: Baseline, since: str, old: LicenceFile | None, new: LicenceFile | None
) -> tuple[str, bool, dict[str, Any]] | None:
    """What became of one licence file: a sentence, whether it is only a warning, the values."""
    if new is None:
        return f"the licence text of {since} is gone", False, {}
    if old is None:
        known = base.licences.text.ids
        harmless = not base.licences.files or new.name is None or new.name in known
        return f"a licence text that {since} did not have", harmless, {"after": new.name}
    names = {"before": old.name, "after": new.name}
    if old.read and new.read and old.name != new.name:
        was, now = (file.name or "a text that is not known" for file in (old, new))
        return f"it was {was} in {since} and is {now} now", False, names
    if old.sha256 and new.sha256 and old.sha256 != new.sha256:
        texts = {"beforeSha256": old.sha256, "afterSha256": new.sha256}
        return f"its text is not that of {since}", new.name is not None, names | texts
    return None
