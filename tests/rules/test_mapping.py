"""Templates, places and path rules: mistakes are found from the configuration alone, and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestd.errors import ConfigError
from manifestd.model.reference import parse_reference
from manifestd.rules.mapping import PathMap, PathRule, check_places, fill, same_place


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("hf://{name}@main", "hf://acme/tiny@main"),
        ("s3://models/{org}--{repo}/", "s3://models/acme--tiny/"),
        ("s3://models/{{x}}/{repo}", "s3://models/{x}/tiny"),
        ("/plain", "/plain"),
    ],
)
def test_templates_are_filled(template: str, filled: str) -> None:
    assert fill(template, "acme/tiny", "sides.hub") == filled


def test_a_name_of_three_parts_has_an_organisation_and_a_last_part() -> None:
    assert fill("{org} {repo} {name}", "a/b/c", "k") == "a c a/b/c"


@pytest.mark.parametrize(
    ("template", "what", "hint"),
    [
        ("hf://{nmae}", "unknown field {nmae}", "did you mean {name}?"),
        ("hf://{}", "unknown field {}", "known are"),
        ("hf://{name.__class__}", "unknown field {name.__class__}", None),
        ("hf://{name", "a lone {", "write it twice"),
        ("hf://name}", "a lone }", "write it twice"),
    ],
)
def test_a_template_that_cannot_be_filled_is_named(
    template: str, what: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        fill(template, "acme/tiny", "defaults.sides.hub")
    assert caught.value.what.startswith("defaults.sides.hub: ")
    assert what in caught.value.what
    assert hint is None or hint in (caught.value.hint or "")


def test_a_name_without_organisation_has_none() -> None:
    with pytest.raises(ConfigError, match="no value for the model 'gpt2'"):
        fill("s3://m/{org}/", "gpt2", "k")


@given(name=st.text(min_size=1, max_size=20), around=st.text(max_size=10))
def test_names_are_put_in_literally(name: str, around: str) -> None:
    """What a name holds is never taken for a template itself."""
    literal = around.replace("{", "{{").replace("}", "}}")
    assert fill(literal + "{name}" + literal, name, "k") == around + name + around


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("s3://bk/p", "s3://bk/p/", True),
        ("s3://bk/p", "s3://bk/p2", False),
        ("hf://a/b", "hf://a/b@main", True),
        ("hf://A/b", "hf://a/B", True),
        ("hf://a/b@v1", "hf://a/b@v2", False),
        ("hf://a/b", "hf-cache://a/b", False),
        ("hf://a/b", "hf://datasets/a/b", False),
        ("/x/y", "file:///x/y/", True),
        ("oci://h/r:1", "oci://h/r:2", False),
    ],
)
def test_which_references_mean_the_same_files(one: str, other: str, same: bool) -> None:
    places = [same_place(parse_reference(text)) for text in (one, other)]
    assert (places[0] == places[1]) is same


def test_two_models_on_one_place_of_a_side_are_refused() -> None:
    models = {
        "a": {"hub": parse_reference("hf://x/a"), "mirror": parse_reference("s3://bk/m")},
        "b": {"hub": parse_reference("hf://x/b"), "mirror": parse_reference("s3://bk/m/")},
    }
    with pytest.raises(ConfigError, match="a and b have one place on the side mirror") as caught:
        check_places(models)
    assert caught.value.facts["models"] == ["a", "b"]


def test_two_sides_on_one_place_are_refused() -> None:
    place = parse_reference("s3://bk/m/")
    with pytest.raises(ConfigError, match="the sides left and right of a are one place"):
        check_places({"a": {"left": place, "right": place}})


def test_one_place_may_be_different_sides_of_two_models() -> None:
    hub, old, new = (parse_reference(text) for text in ("hf://x/a", "s3://bk/1/", "s3://bk/2/"))
    check_places({"a": {"hub": hub, "mirror": old}, "b": {"old": old, "new": new}})


def rules(*pairs: tuple[str, str]) -> PathMap:
    return PathMap([PathRule(*pair) for pair in pairs])


def test_paths_of_the_other_side_get_the_names_of_the_reference() -> None:
    found = rules(("a.bin", "weights/a.bin"), ("onnx/*", "export/onnx/*"), ("*/x-*", "y-*/*.z"))
    assert found.back("weights/a.bin") == (0, "a.bin")
    assert found.back("export/onnx/deep/m.onnx") == (1, "onnx/deep/m.onnx")
    assert found.back("y-1/2.z") == (2, "1/x-2")
    assert found.back("a.bin") is None
    assert found.back("weights/a.bin\n") is None


def test_only_stars_are_patterns() -> None:
    found = rules(("a[1]?.bin", "b[1]?.bin"))
    assert found.back("b[1]?.bin") == (0, "a[1]?.bin")
    assert found.back("b1x.bin") is None


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        ([("onnx/*", "export/onnx")], r"do not have equally many \*"),
        ([("a", "b"), ("a", "c")], r"both match 'a' on the reference side"),
        ([("a", "c"), ("b", "c")], r"both match 'c' on the other side"),
        ([("a/x", "b"), ("a/*", "c/*")], r"both match 'a/x' on the reference side"),
        ([("x", "c/y"), ("a/*", "c/*")], r"both match 'c/y' on the other side"),
        ([("a/*", "b/*"), ("a/*", "c/*")], r"both match every path 'a/\*' on the reference side"),
        ([("a/*", "b/*"), ("a/b/*", "c/*")], r"both match every path 'a/b/\*' on the reference"),
        ([("a/*", "b/*.z"), ("c/*", "*.z")], r"both match every path 'b/\*.z' on the other side"),
    ],
)
def test_rules_that_contradict_each_other_are_refused_before_any_file_is_seen(
    pairs: list[tuple[str, str]], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        rules(*pairs)


@given(
    patterns=st.lists(st.text(alphabet="ab*", min_size=1, max_size=5), min_size=2, max_size=2),
    fillings=st.lists(st.text(alphabet="abc/", max_size=3), min_size=5, max_size=5),
)
def test_rules_are_refused_exactly_when_one_could_never_match_alone(
    patterns: list[str], fillings: list[str]
) -> None:
    def filled(pattern: str, texts: list[str]) -> str:
        pieces = pattern.split("*")
        pairs = zip(texts, pieces[1:], strict=False)
        return pieces[0] + "".join(text + piece for text, piece in pairs)

    def matches(pattern: str, path: str) -> bool:
        return bool(rules((pattern, "x" + "*" * pattern.count("*"))).matching(path))

    first, second = patterns
    own = [not matches(q, filled(p, ["#"] * 5)) for p, q in ((first, second), (second, first))]
    try:
        rules(
            *((text, name + "*" * text.count("*")) for text, name in ((first, "x"), (second, "y")))
        )
    except ConfigError as error:
        path = filled(error.facts["path"], fillings)
        assert matches(first, path)
        assert matches(second, path)
        assert not all(own)
    else:
        assert all(own)


def test_a_path_that_two_globs_match_is_refused_when_it_is_seen() -> None:
    found = rules(("a/*", "x/*"), ("b/*.bin", "*/y.bin"))
    assert found.back("x/z") == (0, "a/z")
    with pytest.raises(ConfigError, match=r"two path rules match 'x/y\.bin'"):
        found.back("x/y.bin")


def test_rules_that_match_nothing_are_told_from_those_that_match_one_side() -> None:
    found = rules(("a", "b"), ("c/*", "d/*"), ("e", "f"), ("g", "h"))
    nowhere, half = found.unused(["a", "c/1", "e"], ["b", "h"])
    assert nowhere == []
    assert half == [
        "c/* -> d/* matches nothing on the other side",
        "e -> f matches nothing on the other side",
        "g -> h matches nothing on the reference side",
    ]
    assert rules(("a", "b")).unused(["x"], ["y"]) == (["a -> b"], [])


@given(
    texts=st.lists(st.text(alphabet="ab/.", max_size=6), min_size=1, max_size=3),
    pieces=st.lists(st.text(alphabet="xy/", max_size=4), min_size=4, max_size=4),
)
def test_one_star_carries_any_text_over(texts: list[str], pieces: list[str]) -> None:
    """With one star there is one way to match, so there and back again is where it began."""
    before, after, there, beyond = pieces
    found = rules((f"{before}*{after}", f"{there}*{beyond}"))
    for text in texts:
        assert found.back(f"{there}{text}{beyond}") == (0, f"{before}{text}{after}")


def test_a_hostile_path_costs_no_more_than_its_length() -> None:
    found = rules(("*a*a*a*a*a*a*b", "*a*a*a*a*a*a*b"))
    assert found.back("a" * 100_000) is None
    assert found.back("a" * 100_000 + "b") == (0, "a" * 100_000 + "b")
