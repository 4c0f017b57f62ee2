"""What outsiders publish gets an error of its own and stops nobody; what people wrote ends the run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from junitparser import JUnitXml

from manifestd.loopback.models import tiny_model
from tests.support.schemas import check_document
from tests.workflows.run_world import SIDES, World, by_name, configure, publish, ran

SELECT = '[[select]]\nhf = { search = "tiny" }\n'
FLAT = SIDES.replace("{name}/", "{repo}/")
BY_ORG = SIDES.replace("{name}/", "{org}/{repo}/")


def flat(world: World, *names: str) -> None:
    """Models on the Hub, and a mirror of the first that is called as all of them are."""
    files = tiny_model(names[0])
    for name in names:
        world.hub.add_repo(name, files if name == names[0] else {"config.json": b"{}"})
    for path, data in files.items():
        world.s3.put(f"{names[0].partition('/')[2]}/{path}", data)


def results(document: Any) -> dict[str, str]:
    return {name: model["result"] for name, model in by_name(document).items()}


def test_a_found_model_that_fits_no_template_is_its_own_error(world: World) -> None:
    publish(world, "acme/tiny")
    world.hub.add_repo("tiny", tiny_model("tiny"))
    configure(world, more=SELECT, sides=BY_ORG)
    document = ran(world, code=3)
    assert results(document) == {"acme/tiny": "pass", "tiny": "error"}
    model = by_name(document)["tiny"]
    error = model["error"]
    assert (error["code"], model["exitCode"]) == ("config-invalid", 3)
    assert "defaults.sides.mirror: {org} in " in error["what"]
    assert error["facts"]["model"] == "tiny"
    assert "[[model]]" in error["hint"]
    assert {name: side["reference"] for name, side in model["sides"].items()} == {
        "hub": "hf://tiny@main", "mirror": "s3://bucket/{org}/{repo}/",
    }  # fmt: skip
    assert "tiny" not in {seen.query.get("prefix", "") for seen in world.s3.seen}


def test_a_found_model_on_the_place_of_a_written_one_is_the_error(world: World) -> None:
    flat(world, "acme/tiny", "evil/tiny")
    configure(world, "acme/tiny", more=SELECT, sides=FLAT)
    document = ran(world, code=3)
    assert results(document) == {"acme/tiny": "pass", "evil/tiny": "error"}
    error = by_name(document)["evil/tiny"]["error"]
    assert error["what"] == (
        "evil/tiny, which [[select]] found, and acme/tiny of [[model]] have one place on the side "
        "mirror: s3://bucket/tiny/"
    )
    assert error["facts"] == {
        "models": ["evil/tiny", "acme/tiny"], "side": "mirror", "place": "s3://bucket/tiny/",
    }  # fmt: skip
    assert not any("evil" in asked.path for asked in world.hub.requests)


@pytest.mark.parametrize("names", [("acme/tiny", "evil/tiny"), ("evil/tiny", "acme/tiny")])
def test_two_found_models_on_one_place_are_both_errors_in_whatever_order(
    world: World, names: tuple[str, ...]
) -> None:
    flat(world, *names)
    publish(world, "acme/tiny2")
    for path in [key for key in world.s3.objects if key.startswith("acme/tiny2/")]:
        world.s3.objects[path.removeprefix("acme/")] = world.s3.objects.pop(path)
    configure(world, more=SELECT, sides=FLAT)
    document = ran(world, code=3)
    assert results(document) == {
        "acme/tiny": "error", "evil/tiny": "error", "acme/tiny2": "pass",
    }  # fmt: skip
    for name, other in (names, names[::-1]):
        error = by_name(document)[name]["error"]
        assert error["what"].startswith(f"{name}, which [[select]] found, and {other} have one")
        assert "nothing says whose" in error["why"]


def test_a_refused_model_still_claims_its_other_places(world: World) -> None:
    flat(world, "acme/tiny", "evil/tiny", "evil/other")
    both = FLAT.replace('/" }', '/", copy = "s3://copies/{org}/" }')
    configure(world, "acme/tiny", more='[[select]]\nhf = { author = "evil" }\n', sides=both)
    document = ran(world)
    assert by_name(document)["evil/tiny"]["error"]["facts"]["side"] == "mirror"
    assert by_name(document)["evil/other"]["error"]["facts"]["side"] == "copy"


def test_plan_offline_and_only_say_the_same(world: World) -> None:
    flat(world, "acme/tiny", "evil/tiny")
    configure(world, "acme/tiny", more=SELECT, sides=FLAT)
    plan = world.run("run", "--plan", "--format", "json")
    check_document("run-plan", plan.out)
    assert (plan.code, plan.json["errors"]) == (3, 2)
    sides = {model["name"]: model["sides"] for model in plan.json["models"]}
    assert sides["acme/tiny"]["mirror"]["error"] is None
    assert sides["evil/tiny"]["mirror"]["error"]["code"] == "config-invalid"
    assert "cannot: evil/tiny, which [[select]] found" in world.run("run", "--plan").out
    online = ran(world, code=3)
    offline = ran(world, "--offline", code=3)
    assert results(offline) == results(online)
    error = by_name(online)["evil/tiny"]["error"]
    assert by_name(offline)["evil/tiny"]["error"] == error
    assert ran(world, "--only", "evil/*", code=3)["models"][0]["error"] == error
    # What is left out takes its place all the same.
    assert results(ran(world, "--only", "acme/*", code=0)) == {"acme/tiny": "pass"}


def test_what_differs_is_told_before_what_has_no_place(world: World) -> None:
    flat(world, "acme/tiny", "evil/tiny")
    world.s3.put("tiny/extra.bin", b"x")
    configure(world, "acme/tiny", more=SELECT, sides=FLAT)
    assert results(ran(world, code=1)) == {"acme/tiny": "fail", "evil/tiny": "error"}


@pytest.mark.parametrize(
    ("sides", "what"),
    [
        (SIDES.replace("{name}/", "{nmae}/"), "unknown field {nmae}"),
        (SIDES.replace("{name}/", "{name/"), "a lone {"),
        (SIDES.replace("s3://", "s4://"), "unknown kind of reference"),
        ('[defaults]\nsides = { hub = "hf://{name}" }\n', "has one side"),
        ("", "has no sides"),
        (SIDES.replace("s3://bucket/{name}/", "hf://{name}"), "are one place"),
    ],
)
def test_templates_that_fit_no_found_model_are_refused_before_any_request(
    world: World, sides: str, what: str
) -> None:
    configure(world, more=SELECT, sides=sides)
    for options in ((), ("--plan",), ("--offline",)):
        found = world.run("run", *options)
        assert found.code == 2, found
        assert what in found.err
        assert (
            "Why: models that [[select]] finds have no sides but those of [defaults]" in found.err
        )
        assert "hint: " in found.err
    assert (world.hub.requests, world.s3.seen) == ([], [])


def test_templates_for_names_without_an_organisation_are_right(world: World) -> None:
    files = publish(world, "acme/tiny")
    for path, data in files.items():
        world.s3.put(f"tiny/{path}", data)
    world.hub.add_repo("tiny", files)
    sides = SIDES.replace("hf://{name}@main", "hf://acme/{name}@main")
    configure(world, more=SELECT, sides=sides)
    document = ran(world, code=3)
    assert results(document) == {"acme/tiny": "error", "tiny": "pass"}


def test_mistakes_in_a_list_and_among_written_models_still_end_it(world: World) -> None:
    written = '[[model]]\nname = "evil/tiny"\n'
    configure(world, "acme/tiny", more=written + SELECT, sides=FLAT)
    (world.home / "list.txt").write_text("acme/tiny\nevil/tiny\n")
    for options in ((), ("--models", "list.txt"), ("--only", "acme/tiny")):
        found = world.run("run", *options)
        assert (found.code, found.out) == (2, "")
        assert "acme/tiny and evil/tiny have one place on the side mirror" in found.err
    assert (world.hub.requests, world.s3.seen) == ([], [])


def test_every_report_status_and_channel_has_the_error(world: World) -> None:
    flat(world, "acme/tiny", "evil/tiny")
    notify = f'[[notify]]\nurl = "exec:///bin/sh?arg=-c&arg=cat>>{world.home}/told"\n'
    configure(world, "acme/tiny", more=SELECT + notify, sides=FLAT)
    forms = ("json", "markdown", "html", "junit", "sarif", "csv")
    asked = [part for form in forms for part in ("--report", f"{form}:{form}.out")]
    found = world.run("--log-format", "json", "run", *asked)
    assert found.code == 3, found
    assert "ERROR   evil/tiny\n" in found.out
    assert "next: write whichever is right as a [[model]]" in found.out
    for form in forms:
        assert "which [[select]] found" in (world.home / f"{form}.out").read_text().replace(
            "\\", ""
        )
    suites = {
        suite.name: (suite.tests, suite.errors)
        for suite in JUnitXml.fromstring((world.home / "junit.out").read_bytes())
    }
    assert suites["evil/tiny"] == (1, 1)
    [told] = json.loads((world.home / "told").read_text())["new"]
    assert (told["model"], told["result"], told["rule"]) == (
        "evil/tiny", "error", "config-invalid",
    )  # fmt: skip
    status = world.run("status", "--check")
    assert status.code == 3
    assert "evil/tiny  error" in status.out
    assert 'manifestd_model_result{model="evil/tiny",result="error"} 1' in world.run("metrics").out
    (world.home / "told").unlink()
    # Written down with a place of its own, it is judged, and the channel hears that it is over.
    world.s3.put("evil/config.json", b"{}")
    own = '[[model]]\nname = "evil/tiny"\nsides = { mirror = "s3://bucket/evil/" }\n'
    configure(world, "acme/tiny", more=own + SELECT + notify, sides=FLAT)
    ran(world, code=0)
    after = json.loads((world.home / "told").read_text())
    assert (after["new"], after["solved"]) == ([], [told])
