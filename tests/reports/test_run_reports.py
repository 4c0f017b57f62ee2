"""Every report of a run names every model, file and reason, and hostile names stay names."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from manifestd.cli.output import emit_lines, write_lines
from manifestd.errors import TamperedError
from manifestd.model.entry import Problem
from manifestd.model.run import Run
from manifestd.model.run_view import ListedRun
from manifestd.model.snapshot import EvidenceCounts
from manifestd.reports import REPORTS
from manifestd.reports.base import ReportOptions
from manifestd.reports.escape import json_text, visible
from manifestd.reports.markdown import MAX_BYTES
from manifestd.reports.run_sides import side_line
from manifestd.reports.run_telling import items, next_steps, run_headline, unverified
from manifestd.store import open_store
from tests.contracts.report_suite import HOSTILE, diff_of, files_of_every_verdict
from tests.reports.run_making import (
    drifted,
    every_end,
    finding,
    gated,
    hostile_run,
    keep_run,
    model,
    objected,
    passing,
    run_of,
    run_side,
    undecided,
    unsigned,
)
from tests.reports.test_html import ATTRIBUTES, TAGS, Page
from tests.support.sarif import check_sarif
from tests.support.schemas import check_document

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
NAMES = REPORTS.names()


def render(name: str, run: Run, *, changes_only: bool = False, color: bool = False) -> str:
    options = ReportOptions(changes_only=changes_only, color=color)
    return "".join(REPORTS.load(name)().run(ListedRun(run), options))


def plain(text: str) -> str:
    """Without the references and backslashes that Markdown and XML need around marks."""
    text = re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), text)
    return text.replace("\\", "").replace("&gt;", ">").replace("&quot;", '"')


class TestEveryReport:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_names_every_model_and_every_file_that_is_not_identical(self, name: str) -> None:
        text = render(name, every_end())
        for judged in every_end().models:
            assert judged.name in text
        for file in files_of_every_verdict():
            assert file.verdict == "identical" or file.path in text

    @pytest.mark.parametrize("name", NAMES)
    def test_it_says_why_each_of_them_does_not_pass(self, name: str) -> None:
        text = plain(render(name, every_end()))
        for reason in (
            "the model is gated and this token has no access",
            "the licence other is not allowed",
            "only the size agrees; the left has sha256, the right md5",
            "the right snapshot is not signed",
            "float16",
            "its sha256 is not the one that is declared",
        ):
            assert reason in text

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in {"json", "csv"}])
    def test_it_says_what_to_do_and_what_was_not_verified(self, name: str) -> None:
        text = plain(render(name, every_end()))
        assert "ask for access on its page" in text
        assert "copy config.json, gone.txt, weights.safetensors again" in text
        assert "look at /torch_dtype" in text
        assert "manifestd run --only acme/drift" in text
        assert "hub: no snapshot, so nothing on it was looked at" in text
        assert "mirror: 1 file without a known sha256" in text

    @pytest.mark.parametrize("name", NAMES)
    def test_it_ends_in_one_newline_and_is_the_same_every_time(self, name: str) -> None:
        for run in (every_end(), run_of(), run_of(passing())):
            text = render(name, run)
            assert text.endswith("\n")
            assert not text.endswith("\n\n")
            assert text == render(name, run)

    @pytest.mark.parametrize("name", NAMES)
    def test_changes_only_leaves_models_out_that_pass(self, name: str) -> None:
        text = render(name, every_end(), changes_only=True)
        if name != "sarif":
            assert "acme/fine" not in text
        assert "acme/gated" in text

    @pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
    @pytest.mark.parametrize("name", NAMES)
    def test_nothing_in_a_name_acts_and_no_name_adds_lines(self, name: str, hostile: str) -> None:
        text = render(name, hostile_run(hostile))
        assert {char for char in text if not char.isprintable()} <= {"\n"}
        assert text.count("\n") == render(name, hostile_run("plain")).count("\n")


class TestSides:
    """What a side is and what it could not do, said once."""

    WHY = "the model acme/gated is gated"

    def gated_files(self, count: int, files: tuple[str, ...] = ("a", "b", "c", "d", "e")) -> Run:
        base = undecided("acme/gated")
        problems = [Problem(path=path, code="access-denied", what=self.WHY) for path in files]
        diffs = [
            msgspec.structs.replace(
                files_of_every_verdict()[5], path=path,
                reason=f"only the size agrees; left: {self.WHY}" if number else f"left: {self.WHY}",
            )
            for number, path in enumerate(files)
        ]  # fmt: skip
        more = Problem(code="more-problems", what=f"{count} further problems", severity="note")
        hub = msgspec.structs.replace(
            base.sides["hub"], problems=problems + ([more] if count else [])
        )
        sides = {**base.sides, "hub": hub, "mirror": run_side("acme/gated")}
        return run_of(msgspec.structs.replace(base, sides=sides, diffs=[diff_of(diffs)]))

    @pytest.mark.parametrize("name", ["text", "markdown", "html"])
    def test_what_keeps_many_files_from_being_read_is_said_once(self, name: str) -> None:
        text = plain(render(name, self.gated_files(0)))
        assert text.count(self.WHY) == 1
        assert f"5 files (a, b, c and 2 more): {self.WHY}" in text
        assert "it could not be read on hub" in text
        assert "only the size agrees" in text

    @pytest.mark.parametrize("name", ["json", "csv", "sarif", "junit"])
    def test_rows_that_are_read_alone_say_it_each(self, name: str) -> None:
        assert render(name, self.gated_files(0)).count(self.WHY) >= 5

    @pytest.mark.parametrize("name", ["text", "markdown", "html"])
    def test_problems_that_are_not_listed_are_counted(self, name: str) -> None:
        assert "7 further problems" in render(name, self.gated_files(7))
        assert f"a: {self.WHY}" in plain(render(name, self.gated_files(0, ("a",))))

    def test_the_reference_stands_before_the_revision_in_words(self) -> None:
        text = render("text", run_of(drifted()))
        assert "hub: hf://acme/drift@main, revision 607a30d783df, 10 files" in text
        revision = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
        pinned = run_side("x", reference=f"hf://x@{revision}")
        assert side_line(pinned) == f"hf://x@{revision}, 10 files, 522.7 MiB"
        image = run_side("x", reference="oci://r/x:1", revision="sha256:" + "ab" * 32)
        assert side_line(image).startswith("oci://r/x:1, revision sha256:abababababab, ")


class TestPieces:
    """A run from the store, a model at a time, gives the text that one from memory gives."""

    @pytest.mark.parametrize("changes_only", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    def test_a_stored_run_gives_the_same_text(
        self, name: str, changes_only: bool, tmp_path: Path
    ) -> None:
        hostile = [model for text in HOSTILE.values() for model in hostile_run(text).models]
        for number, run in enumerate(
            (run_of(), every_end(), run_of(*hostile, *every_end().models))
        ):
            with open_store(tmp_path / f"{number}.db", write=True) as store:
                keep_run(store, run)
                options = ReportOptions(changes_only=changes_only)
                pieces = list(REPORTS.load(name)().run(store.runs.view(), options))
            assert "".join(pieces) == render(name, run, changes_only=changes_only)
            assert all(piece.endswith("\n") for piece in pieces)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_model_that_is_damaged_leaves_no_half_of_a_report(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "s.db"
        with open_store(path, write=True) as store:
            keep_run(store, run_of(*(drifted(f"m/{number}") for number in range(50))))
        with sqlite3.connect(path) as connection:
            damage = (
                "UPDATE blob SET data = zeroblob(size) WHERE digest ="
                " (SELECT document FROM run_model WHERE name = 'm/40')"
            )
            assert connection.execute(damage).rowcount == 1
        with open_store(path) as store:
            view, report = store.runs.view(), REPORTS.load(name)()
            target = tmp_path / "report"
            target.write_text("the last one")
            with pytest.raises(TamperedError):
                write_lines(target, (p.encode() for p in report.run(view, ReportOptions())))
            with pytest.raises(TamperedError):
                emit_lines(report.run(view, ReportOptions()))
        assert target.read_text() == "the last one"
        assert not list(tmp_path.glob("*.part"))
        assert capsys.readouterr().out == ""

    def test_json_is_laid_out_as_a_whole(self) -> None:
        for run in (run_of(), every_end(), hostile_run(HOSTILE["newlines"])):
            whole = msgspec.json.format(msgspec.json.encode(run), indent=1).decode()
            assert render("json", run) == json_text(whole) + "\n"

    def test_sarif_is_laid_out_as_a_whole(self) -> None:
        for run in (run_of(), every_end(), hostile_run(HOSTILE["newlines"])):
            text = render("sarif", run)
            data = msgspec.json.encode(msgspec.json.decode(text))
            assert json_text(msgspec.json.format(data, indent=1).decode()) + "\n" == text


class TestText:
    def test_what_needs_somebody_stands_before_what_passes(self) -> None:
        lines = render("text", every_end()).splitlines()
        heads = [line.split()[:2] for line in lines if line[:1].isupper() and "acme/" in line]
        assert heads == [
            ["FAIL", "acme/drift"], ["FAIL", "acme/policy"], ["FAIL", "acme/unsigned"],
            ["FAIL", "acme/flipped"],
            ["ERROR", "acme/gated"], ["UNKNOWN", "acme/unsure"], ["PASS", "acme/fine"],
        ]  # fmt: skip

    def test_sides_are_called_by_their_names(self) -> None:
        text = render("text", run_of(drifted()))
        assert "gone.txt: missing on mirror (1 B)" in text
        assert "new.py: only on mirror (1 B)" in text
        assert "1 is missing on mirror, 1 is only on mirror" in text

    def test_a_passing_model_takes_one_line_with_what_it_rests_on(self) -> None:
        lines = render("text", run_of(passing())).splitlines()
        [line] = [line for line in lines if "acme/fine" in line]
        assert "10 files are identical" in line
        assert "declares" in line

    def test_colours_are_used_only_when_wanted(self) -> None:
        assert "\x1b[" not in render("text", every_end())
        assert "\x1b[1;31mFAIL" in render("text", every_end(), color=True)


class TestWords:
    @pytest.mark.parametrize(
        ("run", "words"),
        [
            (run_of(), "no model was judged"),
            (run_of(passing()), "the model passed"),
            (run_of(gated()), "the model did not pass; 1 could not be judged"),
            (run_of(passing(), passing("b")), "2 of 2 models passed"),
            (
                run_of(passing(), drifted(), undecided(), interrupted=True),
                "1 of 3 models passed; 1 failed, 1 is undecided; INTERRUPTED",
            ),
        ],
    )
    def test_the_headline_counts_every_model(self, run: Run, words: str) -> None:
        assert run_headline(run) == words

    def test_a_command_to_copy_cannot_run_what_a_name_holds(self) -> None:
        steps = next_steps(drifted("$(reboot)`x`"))
        assert "check again: manifestd run --only '$(reboot)`x`'" in steps

    def test_bytes_of_the_reference_that_are_in_doubt_are_not_to_be_copied(self) -> None:
        flipped = drifted()
        problem = Problem(
            path="config.json", code="digest-mismatch", severity="mismatch", what="flipped",
            hint="do not use it",
        )  # fmt: skip
        hub = msgspec.structs.replace(flipped.sides["hub"], problems=[problem])
        sides = {**flipped.sides, "hub": hub}
        before = next_steps(flipped)
        steps = next_steps(msgspec.structs.replace(flipped, sides=sides))
        assert any(step.startswith("copy config.json, ") for step in before)
        assert steps[0] == "do not use it (config.json on hub)"
        assert any(step.startswith("copy nothing of config.json from hf://") for step in steps)
        [copied] = [step for step in steps if step.startswith("copy ") and " again from " in step]
        assert "config.json" not in copied
        assert "gone.txt" in copied

    def test_a_passing_model_has_nothing_to_do(self) -> None:
        assert next_steps(passing()) == []

    def test_what_to_do_about_the_policy_names_the_files_it_is_for(self) -> None:
        secret = {"rule": "secrets", "what": "a token in line 1", "hint": "revoke it"}
        found = [finding(path=path, **secret) for path in ("a", "b", "b", "c", "d", "e")]
        waived = {"owner": "alice", "reason": "x", "expires": "2027-03-31T23:59:59Z"}
        found += [finding(path="w", waived=waived, **secret), finding(), finding(path="LICENSE")]
        steps = next_steps(model("m", policy=found, result="fail", exit_code=1))
        assert steps[:-1] == [
            "revoke it (a, b, c and 2 more)", "allow it or drop the model (LICENSE)"
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["text", "markdown", "html"])
    @pytest.mark.parametrize("result", ["pass", "fail"])
    def test_a_repository_with_another_name_is_said_even_of_a_model_that_passes(
        self, name: str, result: str
    ) -> None:
        notes = [
            Problem(
                code="renamed", what="acme/old is called acme/new now", severity="note",
                hint="write hf://acme/new: others may take the old name",
            ),
            Problem(code="left-out", what="a pipe was left out", severity="note"),
        ]  # fmt: skip
        evidence = EvidenceCounts(measured=10)
        sides = {
            "hub": run_side("acme/old", problems=notes, evidence=evidence),
            "mirror": run_side("acme/old", evidence=evidence),
        }
        text = render(name, run_of(model("acme/old", sides=sides, result=result)))
        assert "hub: acme/old is called acme/new now; write hf" in text
        assert "others may take the old name" in text
        assert "left out" not in text

    def test_an_unsigned_side_is_told_how_to_be_signed(self) -> None:
        assert any("[signing]" in step and "mirror" in step for step in next_steps(unsigned()))
        assert "mirror: the snapshot is not signed" in unverified(unsigned())

    def test_what_is_waived_or_a_warning_passes_and_is_still_told(self) -> None:
        told = [(item.rule, item.result, item.what) for item in items(objected())]
        assert [(rule, result) for rule, result, _ in told] == [
            ("licenses", "fail"), ("forbidden", "pass"), ("security", "pass"),
        ]  # fmt: skip
        assert "(waived by alice until 2027-03-31: until 4.2)" in told[1][2]

    def test_an_error_of_a_side_is_told_once(self) -> None:
        assert [item.kind for item in items(gated())] == ["side"]


class TestMachines:
    def test_json_is_the_run_document(self) -> None:
        check_document("run", render("json", every_end()))

    def test_a_junit_parser_finds_a_suite_for_each_model_and_a_case_for_each_file(self) -> None:
        suites = {suite.name: suite for suite in JUnitXml.fromstring(
            render("junit", every_end()).encode())}  # fmt: skip
        assert list(suites) == [model.name for model in every_end().models]
        kinds = {case.name: [type(r) for r in case.result] for case in suites["acme/drift"]}
        assert kinds["config.json"] == kinds["gone.txt"] == [Failure]
        assert kinds["unknown.bin"] == [Error]
        assert kinds["README.md"] == kinds["(hub: snapshot)"] == []
        assert kinds["(mirror: 7 identical files)"] == []
        assert (suites["acme/drift"].failures, suites["acme/drift"].errors) == (5, 1)
        gated_kinds = {case.name: [type(r) for r in case.result] for case in suites["acme/gated"]}
        assert gated_kinds["(hub: access-denied)"] == [Error]
        policy = {case.name: [type(r) for r in case.result] for case in suites["acme/policy"]}
        assert policy["(mirror: licenses)"] == [Failure]
        assert policy["(mirror: forbidden) a.pkl"] == [Skipped]

    def test_junit_totals_are_the_sums_of_its_suites(self) -> None:
        root = ET.fromstring(render("junit", every_end()))
        for key in ("tests", "failures", "errors", "skipped"):
            assert int(root.get(key, "")) == sum(int(suite.get(key, "")) for suite in root)
        assert int(root.get("tests", "")) == len(list(root.iter("testcase")))

    @pytest.mark.parametrize("run", [every_end(), run_of(), *map(hostile_run, HOSTILE.values())])
    def test_sarif_fits_the_schema_and_its_indexes_agree(self, run: Run) -> None:
        assert len(check_sarif(render("sarif", run))["runs"]) == 1

    def test_sarif_tells_models_apart_and_suppresses_what_is_waived(self) -> None:
        run = run_of(drifted("a/one"), drifted("b/two"), objected())
        results = json.loads(render("sarif", run))["runs"][0]["results"]
        prints = [str(result["partialFingerprints"]) for result in results]
        assert len(set(prints)) == len(prints)
        uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results]
        assert {"a/one/config.json", "b/two/config.json"} <= set(uris)
        waived = [result for result in results if "suppressions" in result]
        assert [result["ruleId"] for result in waived] == ["policy/forbidden"]

    def test_csv_has_a_row_for_each_model_and_for_each_file(self) -> None:
        rows = list(csv.DictReader(io.StringIO(render("csv", every_end()))))
        models = [row["model"] for row in rows if row["kind"] == "model"]
        assert models == [model.name for model in every_end().models]
        [row] = [row for row in rows if row["path"] == "gone.txt"]
        assert (row["verdict"], row["result"], row["what"]) == (
            "leftOnly", "fail", "missing on mirror (1 B)",
        )  # fmt: skip
        assert all(None not in row and None not in row.values() for row in rows)


class TestMarkdown:
    def test_a_run_of_many_models_fits_into_one_comment_and_counts_what_it_leaves_out(self) -> None:
        run = run_of(*(drifted(f"org/model-{n:04}") for n in range(1000)))
        text = render("markdown", run)
        assert MAX_BYTES // 2 < len(text.encode()) <= MAX_BYTES
        assert re.search(r"\d+ more models are not in the table\.", text)
        assert re.search(r"The details of \d+ more models are left out\.", text)
        assert text.count("<details>") == text.count("</details>")


class TestHtml:
    @pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
    def test_hostile_names_are_text(self, hostile: str) -> None:
        page = Page(render("html", hostile_run(hostile)))
        assert set(page.tags) <= TAGS
        assert page.attributes <= ATTRIBUTES
        assert visible(hostile) in page.texts

    def test_nothing_is_fetched(self) -> None:
        text = render("html", every_end())
        assert not re.search(r"src=|href=|url\(|@import|<script|<link", text)
        assert "default-src 'none'" in text

    @pytest.mark.peer
    @pytest.mark.slow
    @pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
    def test_chromium_shows_every_model_file_and_reason_and_runs_nothing(
        self, tmp_path: Path
    ) -> None:
        assert CHROMIUM is not None
        models = [*every_end().models, *hostile_run(HOSTILE["a script tag"]).models]
        page = tmp_path / "run.html"
        page.write_text(render("html", run_of(*models)), encoding="utf-8")
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        seen = subprocess.run(
            [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        ).stdout
        for judged in models[:-1]:
            assert judged.name in seen
            assert all(item.path is None or item.path in seen for item in items(judged))
        assert "the licence other is not allowed" in seen
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.json" in seen
        assert "<script" not in seen


@pytest.mark.parametrize("name", ["text", "markdown", "html"])
def test_a_run_that_was_interrupted_is_never_headed_as_passed(name: str) -> None:
    for models in ((), (passing(),)):
        found = render(name, run_of(*models, interrupted=True))
        head = found[found.index("<h1>") :] if name == "html" else found
        assert "UNKNOWN" in head[:120]
        assert "INTERRUPTED" in head[:300]
