"""What a run leaves behind: signed verdicts, a line in the history, and how each model stands."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manifestd.config import load_config
from manifestd.model import media_types
from manifestd.model.change import Result
from manifestd.model.envelope import decode_base64
from manifestd.model.run_view import document_pieces
from manifestd.signing.dsse import verify_bundle
from manifestd.signing.trust import load_trust
from manifestd.store import open_store
from manifestd.workflows.run_tally import Tally
from manifestd.workflows.status import status_of
from tests.support.schemas import check_document
from tests.workflows.run_world import World, by_name, configure, flip, publish, ran


def statements(world: World, model: Any) -> list[tuple[bytes, dict[str, Any]]]:
    """The signed statements about a model's comparisons, with their bundles."""
    with open_store(world.home / "snapshots/manifestd.db") as store:
        bundles = [store.blobs.get(digest) for digest in model["attestations"]]
    return [
        (bundle, json.loads(decode_base64(json.loads(bundle)["dsseEnvelope"]["payload"])))
        for bundle in bundles
    ]


class TestVerdicts:
    """One in-toto test-result for each comparison."""

    def test_it_names_both_sides_by_digest_and_is_signed_by_the_configured_key(
        self, world: World
    ) -> None:
        publish(world, "acme/good")
        publish(world, "acme/bad", flip)
        configure(world, "acme/good", "acme/bad")
        document = ran(world, code=1)
        trust = load_trust(load_config(world.home / "manifestd.toml", {}))
        for name, result in (("acme/good", "PASSED"), ("acme/bad", "FAILED")):
            model = by_name(document)[name]
            [(bundle, statement)] = statements(world, model)
            verify_bundle(bundle, trust.public_keys())
            check_document("statement", json.dumps(statement))
            assert statement["predicateType"] == media_types.TEST_RESULT_PREDICATE
            hub, mirror = model["sides"]["hub"], model["sides"]["mirror"]
            assert statement["subject"] == [
                {"name": "manifest", "digest": {"sha256": mirror["manifest"][7:]}}
            ]
            predicate = statement["predicate"]
            assert predicate["result"] == result
            configuration = {item["name"]: item for item in predicate["configuration"]}
            assert {
                name: "sha256:" + item["digest"]["sha256"] for name, item in configuration.items()
            } == {
                "reference": hub["manifest"],
                "reference-snapshot": hub["snapshot"],
                "snapshot": mirror["snapshot"],
                "policy": hub["policy"],
            }
            notes = configuration["reference"]["annotations"]
            assert notes["run"] == document["runId"]
            assert notes["verdict"] == model["verdict"]
            assert ("content" in predicate["passedTests"]) is (result == "PASSED")
            assert "signatures" in predicate["passedTests"]

    def test_a_side_without_manifest_is_named_by_its_snapshot(self, world: World) -> None:
        publish(world, "acme/tiny", gated=True)
        configure(world, sides='[defaults]\nsides = { mirror = "s3://bucket/{name}/", hub = "hf://{name}" }\n', more='[[model]]\nname = "acme/tiny"\n')  # fmt: skip
        [model] = ran(world, code=3)["models"]
        [(_, statement)] = statements(world, model)
        snapshot = model["sides"]["hub"]["snapshot"]
        assert statement["subject"] == [{"name": "snapshot", "digest": {"sha256": snapshot[7:]}}]
        assert statement["predicate"]["result"] == "WARNED"

    def test_nothing_is_signed_without_a_key(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/tiny")
        [model] = ran(world, "--no-sign", code=0)["models"]
        assert model["attestations"] == []
        assert model["diffs"][0]["left"]["signature"] == "unsigned"

    def test_the_verdict_does_not_count_as_a_signature_of_the_snapshot(self, world: World) -> None:
        publish(world, "acme/tiny", gated=True)
        configure(world, "acme/tiny")
        [model] = ran(world)["models"]
        for side in model["sides"].values():
            found = world.run("verify", side["snapshot"], "--format", "json").json
            assert [len(result["signatures"]) for result in found["snapshots"]] == [1]
        assert world.run("store", "check").code == 0
        assert world.run("store", "rebuild").code == 0
        assert world.run("store", "check").code == 0
        assert world.run("status").code == 0

    def test_the_run_is_a_leaf_of_the_history(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/tiny")
        document = ran(world, code=0)
        with open_store(world.home / "snapshots/manifestd.db") as store:
            [entry] = store.log.entries(kinds=["verdict"])
            assert entry.facts["run"] == document["runId"]
            assert entry.facts["pass"] == 1
            assert json.loads(store.blobs.get(entry.document))["run"]["runId"] == document["runId"]


class TestStatus:
    """``status``: last result, age, evidence, trend."""

    def test_each_model_with_its_trend(self, world: World) -> None:
        publish(world, "acme/a")
        publish(world, "acme/b")
        configure(world, "acme/a", "acme/b")
        ran(world, code=0)
        stored = world.s3.objects["acme/a/config.json"]
        world.s3.put("acme/a/config.json", b'{"changed": true}')
        last = ran(world, code=1)
        found = world.run("status", "--format", "json")
        assert found.code == 0
        check_document("status", found.out)
        assert found.json["counts"] == {"pass": 1, "fail": 1, "unknown": 0, "error": 0}
        assert found.json["lastRun"] == last["runId"]
        a, b = found.json["models"]
        assert (a["name"], a["result"], a["trend"]) == ("acme/a", "fail", ["pass", "fail"])
        assert (b["result"], b["trend"]) == ("pass", ["pass", "pass"])
        assert a["what"] == "config.json is different"
        assert b["what"] is None
        assert b["lastPass"] == b["at"]
        assert a["lastPass"] < a["at"]
        assert a["evidence"] == "declared"
        assert a["sides"]["hub"] == by_name(last)["acme/a"]["sides"]["hub"]["snapshot"]
        assert world.run("status", "--check").code == 1

        world.s3.objects["acme/a/config.json"] = stored
        ran(world, "--only", "acme/a", code=0)
        assert world.run("status", "--check").code == 0
        lines = world.run("status").out.splitlines()
        assert lines[0].split() == [
            "MODEL",
            "RESULT",
            "AGE",
            "LAST",
            "PASS",
            "EVIDENCE",
            "TREND",
            "WHAT",
        ]
        assert lines[1].split()[-1] == "+x+"
        assert lines[2].split()[-1] == "++"

    def test_a_replay_does_not_make_old_evidence_young(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/tiny")
        taken = by_name(ran(world, code=0))["acme/tiny"]["sides"]["hub"]["capturedAt"]
        ran(world, "--offline", code=0)
        with open_store(world.home / "snapshots/manifestd.db") as store:
            later = datetime.fromisoformat(taken) + timedelta(days=30)
            [model] = status_of(store, later).models
        assert model.trend == ["pass", "pass"]
        assert (model.at, model.last_pass) == (taken, taken)
        assert model.age_seconds == 30 * 86400

    def test_an_empty_store_and_none_at_all(self, world: World) -> None:
        found = world.run("status")
        assert (found.code, "No model was ever run" in found.out) == (0, True)
        (world.home / "snapshots/manifestd.db").unlink()
        assert world.run("status").code == 3

    def test_a_changed_index_is_noticed(self, world: World) -> None:
        publish(world, "acme/tiny", flip)
        configure(world, "acme/tiny")
        ran(world, code=1)
        with sqlite3.connect(world.home / "snapshots/manifestd.db") as connection:
            connection.execute("UPDATE run_model SET result = 'pass', exit = 0")
        found = world.run("status")
        assert found.code == 4
        assert "another result for 'acme/tiny'" in found.err


class TestStoredRuns:
    """Runs are found again whole."""

    def test_the_last_one_or_by_name(self, world: World) -> None:
        publish(world, "acme/tiny", flip)
        configure(world, "acme/tiny")
        documents = [ran(world, code=1) for _ in range(2)]
        with open_store(world.home / "snapshots/manifestd.db") as store:
            rows = store.runs.list()
            assert [row.run_id for row in rows] == [d["runId"] for d in reversed(documents)]
            assert all(row.finished for row in rows)
            for document in documents:
                stored = store.runs.view(document["runId"])
                assert json.loads(b"".join(document_pieces(stored))) == document
            assert store.runs.view().head.run_id == documents[1]["runId"]
            short = documents[1]["runId"][:-2]
            assert store.runs.view(short).head.run_id == documents[1]["runId"]

    @pytest.mark.parametrize(
        ("wanted", "code"), [("2", "ambiguous-reference"), ("1999", "not-stored")]
    )
    def test_a_name_that_fits_several_or_none(self, world: World, wanted: str, code: str) -> None:
        from manifestd.errors import ManifestdError

        publish(world, "acme/tiny")
        configure(world, "acme/tiny")
        for _ in range(2):
            ran(world, code=0)
        with (
            open_store(world.home / "snapshots/manifestd.db") as store,
            pytest.raises(ManifestdError) as caught,
        ):
            store.runs.view(wanted)
        assert caught.value.code == code

    def test_a_model_taken_out_of_a_run_is_noticed(self, world: World) -> None:
        from manifestd.errors import TamperedError

        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, "acme/a", "acme/b")
        ran(world, code=0)
        path = world.home / "snapshots/manifestd.db"
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM run_model WHERE name = 'acme/b'")
        with open_store(path) as store, pytest.raises(TamperedError, match="are not those"):
            store.runs.view()


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((), 0), ((0, 0), 0), ((0, 3), 3), ((3, 1), 1), ((1, 4, 3), 4), ((3, 3), 3)],
)
def test_the_exit_code_is_4_then_1_then_3(codes: tuple[int, ...], expected: int) -> None:
    from manifestd.model.run import RunModel

    results: dict[int, Result] = {0: "pass", 1: "fail", 3: "error", 4: "fail"}
    models = [
        RunModel(
            name=str(number), result=results[code], verdict=None, exit_code=code,  # type: ignore[arg-type]
            reference="hub", sides={},
        )
        for number, code in enumerate(codes)
    ]  # fmt: skip
    tally = Tally()
    for model in models:
        tally.add(model)
    assert tally.exit_code() == expected


def test_the_clock_of_a_run_is_utc(world: World) -> None:
    publish(world, "acme/tiny")
    configure(world, "acme/tiny")
    document = ran(world, code=0)
    started = datetime.fromisoformat(document["startedAt"])
    assert started.tzinfo is not None
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=5)
    assert document["runId"].startswith(f"{started:%Y%m%dT%H%M%SZ}-")
