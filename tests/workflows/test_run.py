"""``run`` as its user runs it: twenty models, five of them in trouble, each told by itself."""

from __future__ import annotations

import json
import re
import sqlite3
from xml.etree import ElementTree as ET

import pytest

from manifestd.loopback.models import tiny_model
from tests.support.s3_faults import error
from tests.support.schemas import check_document
from tests.workflows.run_world import (
    SIDES,
    World,
    by_name,
    configure,
    flip,
    publish,
    ran,
)


class TestTwentyModels:
    """One gated, one missing in S3, one with a mistyped bucket, one flipped byte, one unreachable."""

    NAMES = tuple(f"acme/m{number:02}" for number in range(20))

    @pytest.fixture
    def twenty(self, world: World) -> World:
        for name in self.NAMES:
            publish(world, name, flip if name == "acme/m07" else None, gated=name == "acme/m03")
        for key in [key for key in world.s3.objects if key.startswith("acme/m05/")]:
            del world.s3.objects[key]
        for verb in ("GET", "HEAD"):
            world.s3.replies[verb, "buckets"] = lambda _: error(404, "NoSuchBucket")
        world.hub.faults.add(r"m11", "reset", times=None)
        more = '[[model]]\nname = "acme/m09"\nsides = { mirror = "s3://buckets/{name}/" }\n'
        configure(world, *(name for name in self.NAMES if name != "acme/m09"), more=more)
        return world

    def test_all_are_judged_and_five_have_their_own_line_and_hint(self, twenty: World) -> None:
        document = ran(twenty, code=1)
        assert document["counts"] == {"pass": 15, "fail": 1, "unknown": 1, "error": 3}
        found = by_name(document)
        assert set(found) == set(self.NAMES)
        trouble = {name: model for name, model in found.items() if model["result"] != "pass"}
        assert {name: model["result"] for name, model in trouble.items()} == {
            "acme/m03": "unknown",
            "acme/m05": "error",
            "acme/m07": "fail",
            "acme/m09": "error",
            "acme/m11": "error",
        }

        [gated] = trouble["acme/m03"]["sides"]["hub"]["problems"][:1]
        assert gated["code"] == "access-denied"
        assert "ask for access" in gated["hint"]

        empty = trouble["acme/m05"]["sides"]["mirror"]["error"]
        assert empty["code"] == "source-empty"
        assert empty["what"] == "s3://bucket/acme/m05/ holds no object"
        assert empty["hint"]

        bucket = trouble["acme/m09"]["error"]
        assert (bucket["code"], bucket["exitCode"]) == ("source-not-found", 3)
        assert "buckets" in bucket["what"]
        assert "check the bucket's name" in bucket["hint"]

        [differing] = trouble["acme/m07"]["diffs"][0]["files"]
        assert (differing["path"], differing["verdict"]) == ("model.safetensors", "different")
        assert trouble["acme/m07"]["exitCode"] == 1

        gone = trouble["acme/m11"]["sides"]["hub"]["error"]
        assert gone["code"] == "source-unreachable"
        assert gone["hint"]
        # What can be known of the other side is.
        assert trouble["acme/m11"]["sides"]["mirror"]["manifest"]

    def test_people_get_a_line_a_model_and_then_what_to_do(self, twenty: World) -> None:
        found = twenty.run("run", "--patience", "0", "--changes-only")
        assert found.code == 1
        lines = [line for line in found.err.splitlines() if re.match(r"\[\d+/20\]", line)]
        assert len(lines) == 20
        assert sum(" pass " in line for line in lines) == 15
        assert any("fail    acme/m07: model.safetensors is different" in line for line in lines)
        for name in ("m03", "m05", "m07", "m09", "m11"):
            part = re.search(rf"(?ms)^\w+ +acme/{name}$(.*?)(?=^\w|\Z)", found.out)
            assert part is not None, name
            assert "next: " in part[1]
        assert "acme/m00" not in found.out

    def test_a_second_run_reads_no_content(self, twenty: World) -> None:
        first = ran(twenty)
        assert first["bytesRead"] > 0
        sent = twenty.s3.sent, twenty.hub.content_bytes()
        asked = twenty.s3.count("GET")
        second = ran(twenty, code=1)
        assert second["counts"] == first["counts"]
        assert (second["bytesRead"], second["bytesReused"] > 0) == (0, True)
        assert (twenty.s3.sent, twenty.hub.content_bytes()) == sent
        # One listing a prefix, the bucket once, and some more to say what is near the empty one.
        assert twenty.s3.count("GET") - asked <= 20 + 1 + 3
        assert {m: f["verdict"] for m, f in by_name(second).items()} == {
            m: f["verdict"] for m, f in by_name(first).items()
        }

    def test_offline_replays_from_the_store(self, twenty: World) -> None:
        first = by_name(ran(twenty))
        asked = len(twenty.s3.seen), len(twenty.hub.requests)
        offline = ran(twenty, "--offline", code=1)
        assert (len(twenty.s3.seen), len(twenty.hub.requests)) == asked
        assert offline["offline"] is True
        assert (offline["requests"], offline["bytesRead"]) == (0, 0)
        for name, model in by_name(offline).items():
            assert model["verdict"] == first[name]["verdict"]
            assert model["diffs"] == first[name]["diffs"]
        lost = by_name(offline)["acme/m05"]["sides"]["mirror"]["error"]
        assert lost["code"] == "not-stored"
        assert "--offline" in lost["hint"]

    def test_each_model_is_one_structured_log_line(self, twenty: World) -> None:
        found = twenty.run("--log-format", "json", "run", "--patience", "0", "--format", "json")
        document = json.loads(found.out)
        lines = [json.loads(line) for line in found.err.splitlines()]
        told = {line["model"]: line for line in lines if "model" in line}
        assert set(told) == set(self.NAMES)
        assert {line["runId"] for line in told.values()} == {document["runId"]}
        line = told["acme/m07"]
        assert (line["result"], line["exitCode"]) == ("fail", 1)
        assert line["what"] == "model.safetensors is different"
        assert told["acme/m00"]["what"] is None
        assert line["source"] == "hf://acme/m07@main"
        assert line["revision"] == by_name(document)["acme/m07"]["sides"]["hub"]["revision"]


class TestOneModel:
    """What a run says of a single model."""

    def test_equal_sides_pass_and_say_how_they_are_known(self, world: World) -> None:
        publish(world, "acme/tiny", lfs={"model.safetensors"})
        configure(world, "acme/tiny")
        [model] = ran(world, code=0)["models"]
        assert (model["result"], model["verdict"], model["compared"]) == (
            "pass",
            "identical",
            ["mirror"],
        )
        hub, mirror = model["sides"]["hub"], model["sides"]["mirror"]
        assert hub["manifest"] == mirror["manifest"]
        assert hub["evidence"]["declared"] == 1
        assert hub["revision"]
        assert mirror["reference"] == "s3://bucket/acme/tiny/"
        check_document("diff", json.dumps(model["diffs"][0]))
        assert model["diffs"][0]["files"] == []

    def test_bytes_that_contradict_the_hub_end_with_4(self, world: World) -> None:
        files = tiny_model("acme/tiny")
        flipped = dict(files)
        flip(flipped)
        served = {"model.safetensors": flipped["model.safetensors"]}
        world.hub.add_repo("acme/tiny", files, lfs={"model.safetensors"}, served=served)
        for path, data in files.items():
            world.s3.put(f"acme/tiny/{path}", data)
        configure(world, "acme/tiny", sides=SIDES + 'read = "all"\n')
        [model] = ran(world, code=4)["models"]
        assert model["result"] == "fail"
        [problem] = model["sides"]["hub"]["problems"]
        assert (problem["code"], problem["path"]) == ("digest-mismatch", "model.safetensors")

    def test_the_policy_is_asked_about_every_model(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/tiny", more='[policy]\nforbidden = ["*.safetensors"]\n')
        [model] = ran(world, code=1)["models"]
        assert model["verdict"] == "identical"
        assert model["result"] == "fail"
        # Both sides hold the same content, so it is said once.
        [finding] = [item for item in model["policy"] if item["severity"] == "error"]
        assert (finding["rule"], finding["path"]) == ("forbidden", "model.safetensors")
        assert finding["side"] == "hub"
        assert {side["policy"] for side in model["sides"].values()} == {finding["policy"]}

    def test_a_waived_finding_does_not_fail_the_model(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(
            world,
            "acme/tiny",
            more='[policy]\nforbidden = ["*.safetensors"]\n[[policy.waiver]]\nmodel = "acme/tiny"\n'
            'rule = "forbidden"\nowner = "alice"\nreason = "until 4.2"\nexpires = 2999-01-01\n',
        )
        [model] = ran(world, code=0)["models"]
        [finding] = [item for item in model["policy"] if item["rule"] == "forbidden"]
        assert finding["waived"]["owner"] == "alice"

    def test_a_damaged_store_is_one_models_error_with_4(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, "acme/a", "acme/b")
        first = by_name(ran(world, code=0))
        record = first["acme/a"]["sides"]["mirror"]["snapshot"]
        with sqlite3.connect(world.home / "snapshots/manifestd.db") as connection:
            connection.execute(
                "UPDATE blob SET data = zeroblob(length(data)) WHERE digest = ?",
                (bytes.fromhex(record[7:]),),
            )
        found = by_name(ran(world, "--offline", code=4))
        assert found["acme/a"]["result"] == "error"
        assert found["acme/a"]["error"]["code"] == "store-tampered"
        assert (found["acme/b"]["result"], found["acme/b"]["exitCode"]) == ("pass", 0)

    def test_three_sides_are_each_compared_with_the_first(self, world: World) -> None:
        files = publish(world, "acme/tiny")
        world.write("disk/tiny", files | {"extra.txt": b"x"})
        sides = SIDES.replace(" }", ', disk = "disk/{repo}" }')
        configure(world, "acme/tiny", sides=sides)
        [model] = ran(world, code=1)["models"]
        assert model["compared"] == ["mirror", "disk"]
        assert [diff["verdict"] for diff in model["diffs"]] == ["identical", "different"]
        assert model["verdict"] == "different"
        assert model["sides"]["disk"]["reference"] == f"file://{world.home}/disk/tiny"

    def test_a_huge_diff_is_kept_short_and_says_where_the_rest_is(self, world: World) -> None:
        left = world.write("left", {f"f{number:03}.txt": b"a" for number in range(250)})
        right = world.write("right", {f"f{number:03}.txt": b"b" for number in range(250)})
        world.write("", {"list.csv": f"big,{left},{right}\n".encode()})
        [model] = ran(world, "--models", "list.csv", code=1)["models"]
        [diff] = model["diffs"]
        assert len(diff["files"]) == 200
        assert diff["counts"]["different"] == 250
        [note] = [note for note in diff["notes"] if "not listed" in note]
        assert note.startswith("50 further files")
        command = note.partition("manifestd ")[2].split()
        whole = world.run(*command, "--format", "json")
        assert len(whole.json["files"]) == 250

    def test_problems_beyond_those_that_are_kept_are_counted(self, world: World) -> None:
        files = {f"{number:02}.json": b"{}" for number in range(30)}
        world.hub.add_repo("acme/tiny", files, gated="auto")
        world.s3.put("acme/tiny/00.json", b"{}")
        configure(world, "acme/tiny")
        [model] = ran(world, code=1)["models"]
        problems = model["sides"]["hub"]["problems"]
        assert [problem["code"] for problem in problems[19:]] == ["access-denied", "more-problems"]
        assert problems[20]["what"].startswith("11 further problems are not listed: manifestd show")
        lines = world.run("run", "--patience", "0").out.splitlines()
        [line] = [line for line in lines if line.startswith("    problem: 20 files (00.json, ")]
        assert "gated" in line


class TestEveryFile:
    """Identical files are counted, and named where that is asked for."""

    def test_each_file_has_its_case_and_its_row(self, world: World) -> None:
        names = set(publish(world, "acme/one", flip))
        publish(world, "acme/two")
        configure(world, "acme/one", "acme/two")
        reports = ("--report", "junit:j.xml", "--report", "html:r.html")
        document = ran(world, "--every-file", *reports, code=1)
        for model in document["models"]:
            assert {file["path"] for file in model["diffs"][0]["files"]} == names
        suites = ET.parse(world.home / "j.xml").getroot()
        for suite in suites:
            cases = {case.get("name", "") for case in suite.iter("testcase")}
            assert {name for name in cases if not name.startswith("(")} == names
            assert not any("identical" in name for name in cases)
        page = (world.home / "r.html").read_text()
        for name in names:
            assert page.count(f'<td class="path">{name}</td>') == 2

        ran(world, "--offline", *reports, code=1)
        (one, two) = ET.parse(world.home / "j.xml").getroot()
        for suite, same in ((one, len(names) - 1), (two, len(names))):
            named = [case.get("name") for case in suite.iter("testcase")]
            assert f"(mirror: {same} identical files)" in named
        assert "all 9 files are identical" in (world.home / "r.html").read_text()

    def test_a_report_that_cannot_be_written_hides_neither_the_result_nor_the_others(
        self, world: World
    ) -> None:
        publish(world, "acme/one", flip)
        told = f'[[notify]]\nurl = "exec:///bin/sh?arg=-c&arg=cat>{world.home}/told"\n'
        configure(world, "acme/one", more=told)
        reports = ("--report", "html:/dev/full", "--report", "junit:j.xml")
        found = world.run("run", "--format", "json", *reports)
        assert found.code == 1
        assert "Error: /dev/full cannot be written: No space left on device" in found.err
        assert found.json["schema"] == "manifestd.run/v1"
        assert ET.parse(world.home / "j.xml").getroot().get("failures") == "1"
        assert json.loads((world.home / "told").read_bytes())["result"] == "fail"

    def test_a_passing_run_without_its_report_is_no_success(self, world: World) -> None:
        publish(world, "acme/one")
        configure(world, "acme/one")
        assert world.run("run", "--report", "html:/dev/full").code == 3

    def test_a_format_that_there_is_not_is_named_before_anything_is_asked(
        self, world: World
    ) -> None:
        configure(world, "acme/one")
        found = world.run("run", "--report", "junitt:j.xml")
        assert found.code == 2
        assert "there is no report format 'junitt'" in found.err
        assert not world.hub.requests


@pytest.mark.parametrize("configured", ["acme/old", "ACME/Now"])
def test_a_renamed_repository_is_replayed_by_the_name_it_is_configured_by(
    world: World, configured: str
) -> None:
    publish(world, configured)
    world.hub.rename(configured, "acme/now")
    configure(world, configured)
    [online] = ran(world, code=0)["models"]
    assert "hf://acme/now" in world.run("list").out
    [offline] = ran(world, "--offline", code=0)["models"]
    assert offline["sides"]["hub"]["snapshot"] == online["sides"]["hub"]["snapshot"]
    told = f"note: hub: {configured} is called acme/now now; write hf://acme/now: others may take"
    assert told in world.run("run", "--offline").out
    # By hand nothing is guessed: somebody else may have the old name by now.
    found = world.run("diff", f"hf://{configured}", "s3://bucket/")
    assert found.code == 3
    assert "hint: it has another name by now: write hf://acme/now" in found.err
