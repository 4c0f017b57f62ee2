"""Licences: which text is whose, who contradicts whom, what is a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifestd.rules.licenses import (
    Baseline,
    LicenceFile,
    Licences,
    Stance,
    agree,
    allowed,
    identify,
    normal,
    same,
    stance,
)
from manifestd.rules.policy_licenses import licence_objections

COMMON = Path("/usr/share/common-licenses")
MIT = b"MIT License\n\nCopyright (c) 2026 A\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software"


@pytest.mark.parametrize(("text", "name"), [
    (b"MIT License\n\nCopyright (c) the authors\n", "mit"),
    (MIT, "mit"),
    (b"\n\n   Apache License\n  Version 2.0, January 2004\n", "apache-2.0"),
    (b"# Llama 3.1 Community License Agreement\n", "llama3.1"),
    (b"META LLAMA 3 COMMUNITY LICENSE AGREEMENT\n", "llama3"),
    (b"Gemma Terms of Use\nLast modified: 2024\n", "gemma"),
    (b"Creative Commons Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
    (b"Creative Commons Attribution 4.0 International", "cc-by-4.0"),
    (b"SPDX-License-Identifier: GPL-3.0-or-later\n", "gpl-3.0"),
    (b"All rights reserved.\n", None),
    (b"Modified MIT License\n" + MIT[12:], None),
    (MIT + b"\nfor non-commercial use only", None),
    (b"", None),
    (b"\xff\xfe\x00", None),
])  # fmt: skip
def test_a_licence_is_known_by_its_text(text: bytes, name: str | None) -> None:
    assert identify(text) == name


@pytest.mark.parametrize(("file", "name"), [
    ("Apache-2.0", "apache-2.0"), ("GPL-2", "gpl-2.0"), ("GPL-3", "gpl-3.0"), ("BSD", "bsd-3-clause"),
    ("LGPL-2.1", "lgpl-2.1"), ("LGPL-3", "lgpl-3.0"), ("MPL-2.0", "mpl-2.0"), ("CC0-1.0", "cc0-1.0"),
])  # fmt: skip
def test_whole_texts_are_known(file: str, name: str) -> None:
    path = COMMON / file
    if not path.exists():
        pytest.skip("this system keeps no licence texts")
    assert identify(path.read_bytes()) == name


def test_identifiers_have_one_spelling_and_families() -> None:
    assert normal(" Apache-2 ") == "apache-2.0"
    assert same("bsd", "bsd-3-clause")
    assert not same("mit", "mit0")
    assert agree(Stance(), stance(["mit"]))
    assert not agree(stance(["mit"]), stance(["other"]))
    assert agree(stance(["mit", "apache-2.0"]), stance(["Apache-2.0"]))


def test_only_the_very_name_is_allowed() -> None:
    assert allowed("mit", ["MIT"])
    assert not allowed("cc-by-nc-4.0", ["cc-by"])
    assert not allowed("other", ["mit"])


def text(name: str | None, sha256: str = "0" * 64, *, read: bool = True) -> LicenceFile:
    return LicenceFile(sha256=sha256, name=name, read=read)


def told(now: Licences, before: Licences | None = None, allow: list[str] | None = None) -> Any:
    base = None if before is None else Baseline(
        snapshot="sha256:" + "0" * 64, kind="previous", captured_at="2026-03-01T00:00:00Z",
        licences=before,
    )  # fmt: skip
    return [
        (found.rule, found.path, found.what, found.only_warn)
        for found in licence_objections(now, base, allow or [])
    ]


def test_three_stances_are_each_held_against_the_list() -> None:
    now = Licences(card=stance(["other"]), hub=stance(["mit"]), files={"LICENSE": text("gpl-3.0")})
    rules = [what for rule, _, what, _ in told(now, allow=["mit"]) if rule == "licenses"]
    assert rules == [
        "other is not an allowed licence (model card)",
        "gpl-3.0 is not an allowed licence (licence text)",
    ]


def test_every_two_stances_that_contradict_each_other_are_named() -> None:
    now = Licences(card=stance(["mit"]), hub=stance(["other"]), files={"LICENSE": text("mit")})
    assert [what for _, _, what, _ in told(now)] == [
        "the model card says mit, the Hub metadata other",
        "the Hub metadata says other, the licence text mit",
    ]


def test_nothing_stated_is_not_allowed_and_says_what_was_not_looked_at() -> None:
    assert told(Licences(card=stance([]), hub=Stance()), allow=["mit"]) == [
        ("licenses", None,
         "no licence is stated or recognised; not looked at: Hub metadata", False),
    ]  # fmt: skip


def test_a_text_that_nobody_knows_confirms_nothing() -> None:
    now = Licences(card=stance(["mit"]), files={"LICENSE": text(None)})
    (found,) = told(now, allow=["mit"])
    assert found[1] == "LICENSE"
    assert found[3]


@pytest.mark.parametrize(("before", "now", "path", "warning"), [
    (Licences(card=stance(["mit"])), Licences(card=stance(["other"])), None, False),
    (Licences(hub=stance(["mit"])), Licences(hub=stance([])), None, False),
    (Licences(card=stance([])), Licences(card=stance(["mit"])), None, True),
    (Licences(files={"LICENSE": text("mit")}), Licences(files={"LICENSE": text("gpl-3.0")}), "LICENSE", False),
    (Licences(files={"LICENSE": text("mit")}), Licences(files={"LICENSE": text(None)}), "LICENSE", False),
    (Licences(files={"LICENSE": text("mit")}), Licences(files={"LICENSE": text("mit", "1" * 64)}), "LICENSE", True),
    (Licences(files={"LICENSE": text(None)}), Licences(files={"LICENSE": text(None, "1" * 64)}), "LICENSE", False),
    (Licences(files={"LICENSE": text("mit")}), Licences(), "LICENSE", False),
    (Licences(files={"LICENSE": text("mit")}),
     Licences(files={"LICENSE": text("mit"), "COPYING": text("gpl-3.0")}), "COPYING", False),
    (Licences(), Licences(files={"LICENSE": text("mit")}), "LICENSE", True),
])  # fmt: skip
def test_a_change_is_told(before: Licences, now: Licences, path: str | None, warning: bool) -> None:
    (found,) = told(now, before)
    assert (found[0], found[1], found[3]) == ("license_changed", path, warning)


@pytest.mark.parametrize(("before", "now"), [
    (Licences(card=stance(["mit"])), Licences(card=Stance())),
    (Licences(card=Stance()), Licences(card=stance(["other"]))),
    (Licences(card=stance(["MIT"])), Licences(card=stance(["mit"]))),
    (Licences(files={"LICENSE": text("mit")}),
     Licences(files={"LICENSE": text(None, read=False)})),
])  # fmt: skip
def test_what_was_not_read_is_no_change(before: Licences, now: Licences) -> None:
    assert told(now, before) == []
