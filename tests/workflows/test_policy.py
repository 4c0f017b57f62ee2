"""Today's policy over stored snapshots, from the command line and as others call it."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifestd.cli.main import run
from manifestd.config import Config, parse_config
from manifestd.errors import ConfigError, TamperedError
from manifestd.loopback.hub import LoopbackHub
from manifestd.loopback.models import tiny_model
from manifestd.model.digest import Digest
from manifestd.model.finding import PolicyVerdict
from manifestd.model.reference import parse_hub
from manifestd.store import Store, open_store
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.policy import Judge, evaluate_policy, policy_document
from manifestd.workflows.snapshot import take_snapshot
from tests.support.schemas import check_document
from tests.support.trees import write_tree
from tests.workflows.history_world import Firm, day
from tests.workflows.stored import keep, listed_file

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TOKEN = "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"
CARD = "---\nlicense: {}\n---\n# m\n"
MODEL = {"README.md": CARD.format("mit").encode(), "LICENSE": b"MIT License\n",
         "config.json": b'{"a": 1}', "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}  # fmt: skip


def config(text: str, folder: Path = Path()) -> Config:
    return parse_config(text.encode(), folder / "manifestd.toml")


def judged(store: Store, snapshot: str, text: str = "", now: datetime = NOW) -> PolicyVerdict:
    verdict = evaluate_policy(store, config(text), snapshot, now)
    check_document("policy", msgspec.json.encode(verdict))
    return verdict


def told(verdict: PolicyVerdict) -> list[tuple[str, str | None, str]]:
    return [
        (found.rule, found.path, "waived" if found.waived else found.severity)
        for found in verdict.findings
    ]


def test_a_model_as_it_should_be_passes_and_the_verdict_names_its_policy(store: Store) -> None:
    text = "[policy]\nlicenses=['mit']\nrequired=['config.json','*.gguf|format:safetensors']\nmin_evidence='measured'"
    verdict = judged(store, keep(store, MODEL), text)
    assert verdict.passes
    assert verdict.findings == []
    assert verdict.digest == verdict.policy


def test_a_licence_changed_from_mit_to_other_is_a_finding_although_both_files_are_there(
    store: Store,
) -> None:
    keep(store, MODEL)
    changed = MODEL | {"README.md": CARD.format("other").encode()}
    verdict = judged(store, keep(store, changed, captured_at="2026-03-02T10:00:00Z"))
    assert not verdict.passes
    found = {finding.rule: finding for finding in verdict.findings}
    assert found["license_changed"].what == (
        "the licence was mit in the previous snapshot of 2026-03-01 and is other now (model card)"
    )
    assert found["license_disagreement"].severity == "warning"


def test_a_changed_licence_stays_a_finding_night_after_night(store: Store) -> None:
    keep(store, MODEL)
    changed = MODEL | {"README.md": CARD.format("other").encode()}
    for night in range(2, 6):
        last = keep(store, changed, captured_at=f"2026-03-{night:02}T10:00:00Z")
    assert "license_changed" in {finding.rule for finding in judged(store, last).findings}


def test_a_licence_is_compared_with_the_approved_snapshot_not_with_the_last(
    tmp_path: Path,
) -> None:
    firm = Firm(tmp_path)
    may = firm.path.with_name("manifestd.toml")
    settings = parse_config(
        b'[[trust]]\nkey = "alice.pem.pub"\nperson = "alice"\nmay = ["snapshot", "approve"]\n', may
    )
    other = MODEL | {"README.md": CARD.format("other").encode()}
    with firm.open(write=True) as store:
        names: dict[str, Any] = {"name": "m", "source": "hf://org/m"}
        first = keep(store, MODEL, captured_at="2026-03-01T10:00:00Z", **names)
        new = MODEL | {"config.json": b"{}"}
        keep(store, other, captured_at="2026-03-02T10:00:00Z", **names)
        back = keep(store, new, captured_at="2026-03-03T10:00:00Z", **names)
        changes = [f for f in evaluate_policy(store, settings, back, NOW).findings
                   if f.rule == "license_changed"]  # fmt: skip
        assert changes[0].facts["since"] == "previous"
        # One judge, as in a run, sees what is logged between its verdicts.
        judge = Judge(store, settings)
        _approve(firm, store, first, by="stranger")
        assert "license_changed" in _rules(judge.verdict(back, NOW))
        approval = _approve(firm, store, first, by="alice")
        assert "license_changed" not in _rules(judge.verdict(back, NOW))
        assert "license_changed" in _rules(judge.verdict(back, day(0)))
        with store.transaction():
            facts: dict[str, Any] = {"tag": "m:production", "revokes": approval, "by": "alice"}
            store.log.append("revocation", approval, day(3), facts)
        assert "license_changed" in _rules(judge.verdict(back, NOW))


def _approve(firm: Firm, store: Store, snapshot: Digest, *, by: str) -> Digest:
    """A signed statement about the snapshot, logged as an approval."""
    from manifestd import canonical
    from manifestd.workflows.sign import sign_snapshot

    bundle = sign_snapshot(store.snapshots.load(snapshot), snapshot, firm.signer(by))
    digest = Digest("sha256:" + canonical.sha256_hex(bundle))
    with store.transaction():
        store.blobs.put(bundle, "bundle")
        facts: dict[str, Any] = {
            "tag": "m:production",
            "snapshot": snapshot,
            "manifest": None,
            "by": by,
        }
        store.log.append("approval", digest, day(2), facts)
    return digest


def _rules(verdict: PolicyVerdict) -> set[str]:
    return {finding.rule for finding in verdict.findings}


def test_hub_metadata_card_and_licence_text_are_three_stances(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = tiny_model() | {"LICENSE": b"Apache License\nVersion 2.0, January 2004\n"}
    with LoopbackHub() as hub:
        hub.add_repo("acme/tiny", files, card={"license": "openrail"})
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        request = SnapshotRequest(reference=parse_hub("acme/tiny"))
        taken = take_snapshot(request, store=store, tool="test")
    text = "[policy]\nlicenses=['mit']"
    verdict = judged(store, taken.result.snapshot, text)
    assert sorted(finding.what for finding in verdict.findings) == [
        "apache-2.0 is not an allowed licence (licence text)",
        "openrail is not an allowed licence (Hub metadata)",
        "the Hub metadata says openrail, the licence text apache-2.0",
        "the model card says mit, the Hub metadata openrail",
        "the model card says mit, the licence text apache-2.0",
    ]


def test_a_pickle_that_runs_code_and_a_config_that_names_code_are_warned_of(store: Store) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, ("id",)

    files = MODEL | {"x.pkl": pickle.dumps(Evil()), "config.json": b'{"auto_map": {"A": "m.A"}}'}
    verdict = judged(store, keep(store, files))
    assert verdict.passes
    assert told(verdict) == [
        ("security", "config.json", "warning"), ("security", "x.pkl", "warning"),
    ]  # fmt: skip
    assert not judged(store, keep(store, files), "[policy]\nseverity={security='error'}").passes


def test_files_known_from_a_listing_only_are_not_called_clean(store: Store) -> None:
    known = {"sha256": "declared"}
    files = {name: listed_file(name, data, known) for name, data in MODEL.items()}  # type: ignore[arg-type]
    files["x.bin"] = listed_file("x.bin", b"x", known)  # type: ignore[arg-type]
    verdict = judged(store, keep(store, files), "[policy]\nlicenses=['mit']")
    assert told(verdict) == [
        ("licenses", None, "error"), ("secrets", None, "warning"), ("security", None, "warning"),
    ]  # fmt: skip
    assert verdict.findings[0].what.startswith("no licence is stated or recognised; not looked at")


def test_a_pickle_that_was_walked_counts_as_looked_into_although_only_bytes_compare_it(
    store: Store,
) -> None:
    old_torch = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps({"w": 1}, 2)
    assert told(judged(store, keep(store, MODEL | {"old.pth": old_torch}))) == []
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    (finding,) = judged(store, keep(store, MODEL | {"old.pth": pointer})).findings
    assert finding.what == "1 file was not looked into, of a kind that can run code"
    assert "git lfs pull" in str(finding.hint)


def test_the_last_look_counts_not_the_first(store: Store) -> None:
    text = "[policy]\nmax_age='30d'"
    first = keep(store, MODEL, captured_at="2026-03-01T10:00:00Z")
    assert told(judged(store, first, text)) == [("max_age", None, "error")]
    keep(store, MODEL, captured_at="2026-05-20T10:00:00Z")
    assert judged(store, first, text).passes
    keep(store, MODEL | {"new": b"x"}, captured_at="2026-05-21T10:00:00Z")
    assert told(judged(store, first, text, NOW + timedelta(days=20))) == [
        ("max_age", None, "error")
    ]


def test_a_waiver_and_a_pin_of_a_model_hold_for_its_copies_too(store: Store) -> None:
    text = """
        [defaults]
        sides = { hub = "hf://{name}@main", mirror = "s3://models/{repo}/" }
        [[model]]
        name = "org/m"
        pinned = { "config.json" = "sha256:%s" }
        [[model]]
        name = "org/other"
        [policy]
        forbidden = ["LICENSE"]
        [[policy.waiver]]
        model = "org/m"
        rule = "forbidden"
        owner = "alice"
        reason = "because"
        expires = 2026-07-01
    """ % ("1" * 64)
    copy = keep(store, MODEL, source="s3://models/m/", name="m")
    other = keep(store, MODEL, source="s3://models/other/", name="other")
    assert told(judged(store, copy, text)) == [
        ("pinned", "config.json", "error"), ("forbidden", "LICENSE", "waived"),
    ]  # fmt: skip
    assert told(judged(store, other, text)) == [("forbidden", "LICENSE", "error")]


def test_the_digest_is_that_of_what_is_demanded_of_this_model() -> None:
    base = config("[policy]\nlicenses=['mit','apache-2.0']")
    same = config(
        "[policy]\nlicenses=['apache-2.0','mit','mit']\nrequire_signature=false\n"
        "severity={secrets='error'}\n[[policy.waiver]]\nmodel='other'\nrule='forbidden'\n"
        "owner='a'\nreason='b'\nexpires=2027-01-01\n[[model]]\nname='other'\n"
        f"pinned={{x='sha256:{'0' * 64}'}}"
    )
    stricter = config("[policy]\nlicenses=['apache-2.0','mit']\nmax_age='30d'")

    def document(of: Config, *names: str) -> bytes:
        return policy_document(of.policy, of.model, frozenset(names))

    assert document(base, "m") == document(same, "m")
    assert document(same, "other") != document(same, "m")
    assert document(stricter, "m") != document(base, "m")
    assert json.loads(document(base)) == {
        "policy": {"licenses": ["apache-2.0", "mit"]}, "schema": "manifestd.policy-document/v1",
    }  # fmt: skip


def test_a_format_that_there_is_not_is_a_mistake_of_the_configuration(store: Store) -> None:
    with pytest.raises(ConfigError, match="no format 'picle'") as error:
        Judge(store, config("[policy]\nforbidden=['*.x|format:picle']"))
    assert error.value.hint == "did you mean format:pickle?"


def test_a_changed_body_is_refused_not_judged(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "s.db"
    with open_store(path, write=True) as store:
        snapshot = keep(store, MODEL | {"config.json": b'{"fresh": "body"}'})
    with sqlite3.connect(path) as database:
        database.execute("UPDATE blob SET data = x'00' WHERE kind = 'body'")
    database.close()
    with open_store(path) as store, pytest.raises(TamperedError):
        evaluate_policy(store, config(""), snapshot, NOW)


# -- the command ----------------------------------------------------------------------------


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configured folder with one model ``m`` in it, snapshotted."""
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    write_tree(tmp_path / "m", tiny_model())
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    return tmp_path


def add(folder: Path, text: str) -> None:
    path = folder / "manifestd.toml"
    path.write_text(path.read_text() + text)


def test_a_token_in_a_config_is_found_and_never_printed(
    firm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (firm / "m" / "config.json").write_text(f'{{\n "hub_token": "{TOKEN}"\n}}')
    assert run(["-q", "snapshot", "dir", "m"]) == 0
    capsys.readouterr()
    for form in ("text", "json"):
        assert run(["-v", "policy", "check", "m", "--format", form]) == 1
        shown = capsys.readouterr()
        assert "a Hugging Face token in line 2" in shown.out
        assert TOKEN not in shown.out + shown.err
        assert TOKEN[3:20] not in shown.out + shown.err


@pytest.mark.parametrize("path", ["config.json", "README.md", "run.py"])
def test_a_comparison_says_that_a_token_changed_and_never_prints_it(
    firm: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    (firm / "m" / path).write_text(f'{{\n "hub_token": "{TOKEN}"\n}}')
    assert run(["-q", "snapshot", "dir", "m", "--name", "one"]) == 0
    (firm / "m" / path).write_text(f'{{\n "hub_token": "{TOKEN[:-1]}Z"\n}}')
    assert run(["-q", "snapshot", "dir", "m", "--name", "two"]) == 0
    capsys.readouterr()
    for form in ("text", "json", "markdown", "html", "junit", "sarif"):
        assert run(["-v", "diff", "one", "two", "--format", form]) == 1
        shown = capsys.readouterr()
        assert form != "json" or "[Hugging Face token, not shown]" in shown.out
        assert TOKEN[3:20] not in shown.out + shown.err


def test_old_snapshots_are_judged_by_the_policy_of_today(
    firm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "check", "m"]) == 0
    add(firm, "[policy]\nrequire_signature = true\nforbidden = ['tokenizer*']\n")
    capsys.readouterr()
    assert run(["policy", "check", "--all", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    check_document("policy-report", report)
    assert [finding["path"] for finding in report["verdicts"][0]["findings"]] == [
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_an_expired_waiver_fails_and_says_so(
    firm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiver = (
        "[policy]\nforbidden = ['onnx/*']\n[[policy.waiver]]\nmodel = 'm'\nrule = 'forbidden'\n"
        "owner = 'alice'\nreason = 'until the release'\nexpires = {}\n"
    )
    before = (firm / "manifestd.toml").read_text()
    add(firm, waiver.format("2999-01-01"))
    assert run(["policy", "check", "m"]) == 0
    assert "waived    forbidden: onnx/config.json" in capsys.readouterr().out
    (firm / "manifestd.toml").write_text(before + waiver.format("2020-01-01"))
    assert run(["policy", "check", "m"]) == 1
    assert "the waiver of alice ran out on 2020-01-01" in capsys.readouterr().out


def test_one_reference_that_is_not_stored_hides_no_other(
    firm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["policy", "check", "nothing", "m"]) == 3
    shown = capsys.readouterr().out
    assert "passes: file://" in shown
    assert "NOT JUDGED: nothing" in shown
    add(firm, "[policy]\nforbidden = ['*']\n")
    assert run(["policy", "check", "nothing", "m"]) == 1


def test_without_a_reference_the_command_says_what_it_wants(firm: Path) -> None:
    assert run(["policy", "check"]) == 2
    assert run(["policy", "check", "--all", "m"]) == 2


def test_show_prints_the_document_that_the_digest_is_over(
    firm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from manifestd import canonical

    add(firm, "[policy]\nlicenses = ['mit']\n")
    capsys.readouterr()
    assert run(["policy", "show", "m"]) == 0
    document = capsys.readouterr().out.rstrip("\n").encode()
    assert run(["policy", "check", "m"]) == 0
    assert f"sha256:{canonical.sha256_hex(document)}" in capsys.readouterr().out
