"""Which models a run is about: mistakes end it before any request; paths are mapped, not rewritten."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.schemas import check_document
from tests.workflows.run_world import SIDES, World, by_name, configure, publish, ran

MISTAKES: dict[str, tuple[str, str, str]] = {
    "an unknown field": (
        SIDES.replace("{name}/", "{nmae}/"),
        '[[model]]\nname = "a/b"\n',
        "defaults.sides.mirror: unknown field {nmae}",
    ),
    "two models on one place": (
        SIDES,
        '[[model]]\nname = "a/b"\n[[model]]\nname = "a/c"\nsides = { mirror = "s3://bucket/a/b" }\n',
        "a/b and a/c have one place on the side mirror",
    ),
    "one place on both sides": (
        SIDES,
        '[[model]]\nname = "a/b"\nsides = { mirror = "hf://a/b" }\n',
        "the sides hub and mirror of a/b are one place",
    ),
    "a name twice": (
        SIDES,
        '[[model]]\nname = "a/b"\n[[model]]\nname = "a/b"\n',
        "model[1].name: 'a/b' stands there twice",
    ),
    "a side that is no reference": (
        SIDES,
        '[[model]]\nname = "a/b"\nsides = { mirror = "s4://x/y" }\n',
        "model[0].sides.mirror: for the model a/b: unknown kind of reference",
    ),
    "a name that no repository can have": (
        SIDES,
        '[[model]]\nname = "a b c"\n',
        "defaults.sides.hub: for the model a b c: not a Hub repository",
    ),
    "one side": (
        '[defaults]\nsides = { hub = "hf://{name}" }\n',
        '[[model]]\nname = "a/b"\n',
        "has one side, which cannot be compared with anything",
    ),
    "no sides": ("", '[[model]]\nname = "a/b"\n', "a/b has no sides"),
    "no models": (SIDES, "", "names no model"),
    "rules that match one path twice": (
        SIDES,
        '[[model]]\nname = "a/b"\npaths = [["x/*", "y/*"], ["x/1", "z"]]\n',
        "model[0].paths[0] and",
    ),
    "a rule all of whose paths another matches": (
        SIDES,
        '[[model]]\nname = "a/b"\npaths = [["x/*", "y/*"], ["x/z/*", "z/*"]]\n',
        "both match every path 'x/z/*' on the reference side",
    ),
    "a rule with unequal stars": (
        SIDES,
        '[[model]]\nname = "a/b"\npaths = [["x/*", "y"]]\n',
        "model[0].paths[0]: the two patterns",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_before_any_request(world: World, case: str) -> None:
    sides, more, what = MISTAKES[case]
    configure(world, sides=sides, more=more)
    found = world.run("run")
    assert found.code == 2, found
    assert what in found.err
    assert "hint: " in found.err
    assert found.out == ""
    assert (world.hub.requests, world.s3.seen) == ([], [])
    assert world.run("run", "--format", "json").json["code"] == "config-invalid"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--only", "acme/tinny"), "did you mean acme/tiny?"),
        (("--report", "junit"), "write FORMAT:FILE"),
        (("--report", "text:-"), "--format text prints the result"),
        (("--report", "junit:no/where.xml"), "there is no directory no"),
        (("--report", "junit:snapshots"), "snapshots is a directory"),
        (("--report", "html:one", "--report", "csv:./one"), "html:one is written to that file"),
        (("--report", "html:manifestd.toml"), "a file of manifestd itself"),
        (("--report", "html:snapshots/../keys/manifestd.pem"), "a file of manifestd itself"),
        (("--report", "html:snapshots/manifestd.db"), "a file of manifestd itself"),
        (("--report", "yunit:x.xml"), "junit"),
        (("--plan", "--report", "html:x.html"), "leave it out"),
        (("--format", "yaml"), "known are"),
        (("--plan", "--offline"), "--offline forbids it"),
        (("--plan", "--format", "html"), "use text or json"),
    ],
)
def test_wrong_usage_is_refused_before_any_request(
    world: World, options: tuple[str, ...], what: str
) -> None:
    publish(world, "acme/tiny")
    configure(world, "acme/tiny")
    found = world.run("run", *options)
    assert found.code == 2, found
    assert what in found.err
    assert (world.hub.requests, world.s3.seen) == ([], [])


def test_only_takes_the_name_of_a_model_as_it_is(world: World) -> None:
    sides = '[defaults]\nsides = { a = "a/{name}", b = "b/{name}" }\n'
    for side in ("a", "b"):
        world.write(f"{side}/x[1]", {"f": b"1"})
    configure(world, "x[1]", "x1", sides=sides)
    assert list(by_name(ran(world, "--only", "x[1]", code=3))) == ["x[1]", "x1"]
    assert list(by_name(ran(world, "--only", "x[[]1]", code=0))) == ["x[1]"]


def test_only_takes_globs_and_says_what_it_left_out(world: World) -> None:
    for name in ("acme/a1", "acme/a2", "acme/b1"):
        publish(world, name)
    configure(world, "acme/a1", "acme/a2", "acme/b1")
    document = ran(world, "--only", "acme/a*", code=0)
    assert set(by_name(document)) == {"acme/a1", "acme/a2"}
    assert document["notes"] == ["1 of 3 models left out by --only"]
    assert not any("b1" in seen.query.get("prefix", "") for seen in world.s3.seen)


class TestPlainLists:
    """``--models FILE``."""

    def test_names_take_the_configured_sides(self, world: World) -> None:
        for name in ("acme/a", "acme/b"):
            publish(world, name)
        configure(world, "acme/other")
        world.write("", {"names.txt": b"\xef\xbb\xbf# models\nacme/a\r\n\n  acme/b  \n"})
        assert set(by_name(ran(world, "--models", "names.txt", code=0))) == {"acme/a", "acme/b"}

    def test_rows_bring_their_own_sides(self, world: World) -> None:
        files = publish(world, "acme/a")
        world.write("copy {1}", files)
        configure(world)
        csv = (
            b'name,left,right\nmine,hf://acme/a,"copy {1}"\ntheirs,s3://bucket/acme/a,hf://acme/a\n'
        )
        world.write("", {"list.csv": csv})
        document = ran(world, "--models", "list.csv", code=0)
        found = by_name(document)
        assert list(found) == ["mine", "theirs"]
        assert list(found["mine"]["sides"]) == ["left", "right"]
        [note] = document["notes"]
        assert note.endswith("with --models list.csv --only NAME")
        assert found["mine"]["sides"]["right"]["reference"].endswith("/copy {1}")
        assert found["theirs"]["sides"]["left"]["reference"] == "s3://bucket/acme/a/"

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            (b"a,b\n", "line 1: 2 cells"),
            (b"# x\n\na,,c\n", "line 3: 3 cells"),
            (b'ok/ok\r\na,"b\r\n', "list.txt line 2 is no CSV: unexpected end of data"),
            (b"\n# nothing\n", "names no model"),
            (b"\xff\xfe\n", "not UTF-8"),
            (b"a/b\nx,hf://a/b,s4://c/\n", "list.txt line 2.sides.right: for the model x"),
            (b"#\nx\n", "list.txt line 2: x has no sides"),
            (b"a/b\r# x\ra/b\r", "list.txt line 3: 'a/b' stands in list.txt line 1 already"),
            (b"\xef\xbb\xbfName,Left,Right\r\n", "names no model"),
        ],
    )
    def test_what_is_no_list_is_refused(self, world: World, text: bytes, what: str) -> None:
        configure(world, sides="" if "no sides" in what else SIDES)
        world.write("", {"list.txt": text})
        found = world.run("run", "--models", "list.txt")
        assert found.code == 2
        assert what in found.err


class TestPaths:
    """``paths``: files of the mirror that go by other names."""

    @staticmethod
    def moved(world: World, rename: dict[str, str], paths: str, **more: Any) -> Any:
        def change(files: dict[str, bytes]) -> None:
            for old, new in rename.items():
                files[new] = files.pop(old)

        publish(world, "acme/tiny", change)
        configure(world, more=f'[[model]]\nname = "acme/tiny"\npaths = [{paths}]\n')
        [model] = ran(world, **more)["models"]
        return model

    def test_mapped_files_are_compared_under_the_reference_s_names(self, world: World) -> None:
        model = self.moved(
            world,
            {
                "model.safetensors": "weights/model.safetensors",
                "onnx/config.json": "x/o/config.json",
            },
            '["model.safetensors", "weights/model.safetensors"], ["onnx/*", "x/o/*"]',
            code=0,
        )
        assert (model["result"], model["verdict"]) == ("pass", "identical")
        # Nothing is rewritten: the mirror's own record has its own names and identity.
        sides = model["sides"]
        assert sides["hub"]["manifest"] != sides["mirror"]["manifest"]
        assert "weights/model.safetensors" in world.files(sides["mirror"]["snapshot"])

    def test_a_difference_names_both_paths(self, world: World) -> None:
        def change(files: dict[str, bytes]) -> None:
            files["w/model.safetensors"] = files.pop("model.safetensors")[:-1] + b"!"
            files["zzz"] = b"extra"

        publish(world, "acme/tiny", change)
        paths = 'paths = [["model.safetensors", "w/model.safetensors"]]\n'
        configure(world, more=f'[[model]]\nname = "acme/tiny"\n{paths}')
        [model] = ran(world, code=1)["models"]
        [diff] = model["diffs"]
        check_document("diff", diff)
        assert [(f["path"], f["verdict"], f.get("rightPath")) for f in diff["files"]] == [
            ("model.safetensors", "different", "w/model.safetensors"),
            ("zzz", "rightOnly", None),
        ]
        assert diff["counts"]["identical"] == 8
        # What explains it is found under either name.
        assert "7 tensors" in diff["files"][0]["summary"]

    def test_a_rule_that_matches_nothing_is_that_models_error(self, world: World) -> None:
        publish(world, "acme/other")
        publish(world, "acme/tiny")
        configure(
            world,
            "acme/other",
            more='[[model]]\nname = "acme/tiny"\npaths = [["model.bin", "w/model.bin"]]\n',
        )
        found = by_name(ran(world, code=3))
        assert found["acme/other"]["result"] == "pass"
        model = found["acme/tiny"]
        assert model["result"] == "error"
        assert "model.bin -> w/model.bin matches no file" in model["error"]["what"]
        assert model["error"]["hint"]

    def test_a_rule_that_matches_on_one_side_is_said(self, world: World) -> None:
        model = self.moved(world, {}, '["model.safetensors", "weight/model.safetensors"]', code=0)
        [diff] = model["diffs"]
        assert diff["notes"] == [
            (
                "the path rule model.safetensors -> weight/model.safetensors "
                "matches nothing on the other side"
            )
        ]

    def test_two_files_under_one_name_are_that_models_error(self, world: World) -> None:
        def change(files: dict[str, bytes]) -> None:
            files["w/config.json"] = files["config.json"]

        publish(world, "acme/tiny", change)
        configure(world, more='[[model]]\nname = "acme/tiny"\npaths = [["*", "w/*"]]\n')
        [model] = ran(world, code=3)["models"]
        assert model["error"]["code"] == "config-invalid"
        assert "two files of the other side stand for 'config.json'" in model["error"]["what"]


class TestPlan:
    """``--plan``: what it would do and cost."""

    def test_listings_alone_tell_what_would_be_read(self, world: World) -> None:
        publish(world, "acme/tiny", lfs={"model.safetensors"})
        configure(world, "acme/tiny")
        (world.home / "snapshots/manifestd.db").unlink()
        found = world.run("run", "--plan", "--format", "json")
        assert found.code == 0
        check_document("run-plan", found.out)
        plan = found.json
        hub, mirror = plan["models"][0]["sides"].values()
        weights = 181_616
        assert mirror["bytesToRead"] == mirror["bytes"] == hub["bytes"]
        assert hub["bytesToRead"] == hub["bytes"] - weights
        assert (hub["headersToRead"], mirror["headersToRead"]) == (1, 0)
        assert (hub["filesToRead"], mirror["filesToRead"]) == (8, 9)
        assert plan["bytesReusable"] == 0
        assert plan["requests"] == hub["requests"] + mirror["requests"]
        assert (world.s3.sent, world.hub.content_bytes()) == (0, 0)
        assert not (world.home / "snapshots/manifestd.db").exists()

    def test_what_was_measured_is_reusable(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/tiny")
        ran(world, code=0)
        plan = world.run("run", "--plan", "--format", "json").json
        assert (plan["bytesToRead"], plan["filesToRead"]) == (0, 0)
        assert plan["bytesReusable"] > 0
        text = world.run("run", "--plan").out
        assert "0 files with 0 B to read" in text

    @pytest.mark.parametrize(
        ("paths", "what"),
        [
            ('["model.bin", "w/model.bin"]', "the path rule model.bin -> w/model.bin matches no"),
            ('["*", "onnx/*"]', "two files of the other side stand for 'config.json'"),
        ],
    )
    def test_rules_that_the_last_snapshots_do_not_bear_out_are_noted(
        self, world: World, paths: str, what: str
    ) -> None:
        publish(world, "acme/tiny")
        more = f'[[model]]\nname = "acme/tiny"\npaths = [{paths}]\n'
        configure(world, more=more)
        # Nobody has looked yet, so nothing can be said.
        assert world.run("run", "--plan", "--format", "json").json["notes"] == []
        ran(world, code=3)
        found = world.run("run", "--plan", "--format", "json")
        assert found.code == 0
        [note] = found.json["notes"]
        assert note.startswith(f"acme/tiny: {what}")
        assert note.endswith("unless the files have changed since, this model will be an error")
        assert f"Note: {note}" in world.run("run", "--plan").out
        # A run says so before it asks, and judges what it finds then.
        assert f"Warning: {note}" in world.run("run").err
        assert note not in world.run("run", "--offline").err

    def test_a_rule_that_fits_the_last_snapshots_is_not_noted(self, world: World) -> None:
        publish(world, "acme/tiny", lambda files: files.update({"w/LICENSE": files.pop("LICENSE")}))
        more = '[[model]]\nname = "acme/tiny"\npaths = [["LICENSE", "w/LICENSE"]]\n'
        configure(world, more=more)
        ran(world, code=0)
        assert world.run("run", "--plan", "--format", "json").json["notes"] == []

    def test_a_side_that_is_nearly_one_of_all_models_is_noted(self, world: World) -> None:
        publish(world, "acme/tiny")
        sides = 'sides = { miror = "s3://bucket/elsewhere/" }\n'
        configure(world, more=f'[[model]]\nname = "acme/tiny"\n{sides}')
        [note] = world.run("run", "--plan", "--patience", "0", "--format", "json").json["notes"]
        assert note.startswith("model[0].sides.miror is one more side of acme/tiny, beside mirror,")

    def test_a_waiver_for_a_model_that_is_nearly_called_so_is_noted(self, world: World) -> None:
        publish(world, "acme/tiny")
        waiver = (
            '[[policy.waiver]]\nmodel = "{}"\nrule = "forbidden"\nowner = "a"\nreason = "b"\n'
            "expires = 2099-01-01\n"
        )
        waivers = "".join(map(waiver.format, ("acme/tiny", "acme/tinny", "other/one")))
        configure(world, "acme/tiny", more=waivers)
        assert world.run("run", "--plan", "--format", "json").json["notes"] == [
            "policy.waiver[1] is for acme/tinny, which is no model of the configuration; acme/tiny is"
        ]

    def test_a_side_that_cannot_be_listed_does_not_hide_the_others(self, world: World) -> None:
        publish(world, "acme/tiny")
        configure(world, "acme/none", "acme/tiny")
        found = world.run("run", "--plan", "--format", "json", "--patience", "0")
        assert found.code == 3
        plan = found.json
        assert plan["errors"] == 2
        none, tiny = plan["models"]
        assert none["sides"]["hub"]["error"]["code"] == "source-not-found"
        assert tiny["sides"]["mirror"]["files"] == 9
        assert "cannot: " in world.run("run", "--plan", "--patience", "0").out
