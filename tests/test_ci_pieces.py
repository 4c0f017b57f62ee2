"""The commands in docs/ci run, under the very shells and flags that the systems use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml
from packaging.requirements import Requirement
from prometheus_client.parser import text_string_to_metric_families

from manifestd.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
CI = ROOT / "docs" / "ci"
BIN = Path(sys.executable).parent


class Place:
    """A working directory with a configuration whose models are directories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for side in ("left", "right"):
            for name in ("one", "two"):
                place = folder / side / name
                place.mkdir(parents=True)
                (place / "config.json").write_text('{"a": 1}')
        (folder / "manifestd.toml").write_text(
            textwrap.dedent(f"""\
            [defaults]
            sides = {{ left = "{folder}/left/{{name}}", right = "{folder}/right/{{name}}" }}
            [[model]]
            name = "one"
            [[model]]
            name = "two"
            """)
        )

    def differ(self) -> None:
        (self.folder / "right" / "two" / "config.json").write_text('{"a": 2}')

    def lose(self) -> None:
        shutil.rmtree(self.folder / "right" / "two")

    def shell(self, text: str, *shell: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a system does, with manifestd on the path and none of our variables."""
        script = self.folder / "script"
        script.write_text(text)
        path = f"{_path_of_manifestd()}:{os.environ['PATH']}"
        return subprocess.run(
            [*shell, str(script)],
            cwd=self.folder, env={"PATH": path, "HOME": str(self.folder), **environ},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


def _path_of_manifestd() -> str:
    found = shutil.which("manifestd", path=f"{BIN}:{os.environ['PATH']}")
    assert found is not None
    return str(Path(found).parent)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def load(name: str) -> Any:
    return yaml.safe_load((CI / name).read_text(encoding="utf-8"))


# -- GitHub ---------------------------------------------------------------------------------


def github(place: Place, **inputs: str) -> tuple[subprocess.CompletedProcess[str], str, str]:
    """Run the action's step; returns it with its outputs and its summary."""
    action = load("github/action.yml")
    defaults = {name: str(value["default"]) for name, value in action["inputs"].items()}
    [step] = [step for step in action["runs"]["steps"] if step.get("id") == "run"]
    values = {**defaults, **inputs}
    environ = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text)
        for name, text in step["env"].items()
    }
    out, summary = place.folder / "output", place.folder / "summary"
    out.write_text("")
    done = place.shell(
        step["run"], "bash", "--noprofile", "--norc", "-eo", "pipefail",
        GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(out), GITHUB_STEP_SUMMARY=str(summary), **environ,
    )  # fmt: skip
    return done, out.read_text(), summary.read_text() if summary.exists() else ""


def test_the_github_action_passes_and_leaves_its_reports(place: Place) -> None:
    done, outputs, summary = github(place)
    assert done.returncode == 0, done.stderr
    assert outputs == "exit-code=0\n"
    assert "2 of 2 models passed" in summary
    reports = {path.name for path in (place.folder / "manifestd-reports").iterdir()}
    assert reports == {"junit.xml", "manifestd.sarif", "report.html", "run.json"}


def test_the_github_action_fails_with_annotations_when_a_model_differs(place: Place) -> None:
    place.differ()
    done, outputs, summary = github(place)
    assert done.returncode == 1
    assert outputs == "exit-code=1\n"
    assert "::error title=manifestd%3A two::right: config.json" in done.stderr
    assert "1 of 2 models passed" in summary
    junit = JUnitXml.fromfile(str(place.folder / "manifestd-reports" / "junit.xml"))
    assert junit.failures == 1


def test_the_github_action_warns_of_what_is_undecided_where_that_is_wanted(place: Place) -> None:
    place.lose()
    assert github(place)[0].returncode == 3
    done, outputs, _ = github(place, undecided="warn")
    assert done.returncode == 0
    assert outputs == "exit-code=3\n"
    assert "::warning title=manifestd::" in done.stdout


def test_inputs_of_the_github_action_are_values_and_never_code(place: Place) -> None:
    done, _, summary = github(place, only="on*", offline="false")
    assert done.returncode == 0
    assert "the model passed" in summary
    github(place, only="$(touch owned)`touch owned`; touch owned")
    assert not (place.folder / "owned").exists()
    github(place)
    done, _, summary = github(place, offline="true")
    assert done.returncode == 0
    assert "offline" in summary


def test_scripts_of_the_github_action_hold_no_expressions() -> None:
    for step in load("github/action.yml")["runs"]["steps"]:
        assert "${{" not in step["run"]
    for step in load("github/workflow.yml")["jobs"]["compare"]["steps"]:
        assert "run" not in step


def test_the_workflow_uses_the_action_with_inputs_that_it_has() -> None:
    inputs = load("github/action.yml")["inputs"]
    steps = load("github/workflow.yml")["jobs"]["compare"]["steps"]
    [used] = [step for step in steps if step["uses"] == "./.github/actions/manifestd"]
    assert set(used.get("with", {})) <= set(inputs)
    uploaded = [step["with"] for step in steps if "upload" in step["uses"]]
    assert any(step.get("path") == inputs["reports"]["default"] for step in uploaded)


# -- GitLab ---------------------------------------------------------------------------------


def gitlab(place: Place) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    job = load("gitlab.yml")[".manifestd"]
    text = "\n".join(job["script"])
    done = place.shell(text, "bash", "-eo", "pipefail", **job["variables"])
    return job, done


def test_the_gitlab_job_passes_and_its_artifacts_are_there(place: Place) -> None:
    job, done = gitlab(place)
    assert done.returncode == 0, done.stderr
    for path in [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]:
        assert (place.folder / path).exists(), path
    assert (place.folder / job["cache"]["paths"][0] / "manifestd.db").exists()


def test_the_gitlab_job_fails_on_a_difference_and_may_fail_when_undecided(place: Place) -> None:
    place.differ()
    assert gitlab(place)[1].returncode == 1
    place.lose()
    job, done = gitlab(place)
    assert job["allow_failure"]["exit_codes"] == [done.returncode] == [3]


# -- Jenkins --------------------------------------------------------------------------------


def jenkins_scripts() -> list[str]:
    text = (CI / "Jenkinsfile").read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    # In a Groovy string of three quotes a backslash before a line end joins the lines.
    return [found.replace("\\\n", "") for found in re.findall(r"'''\n(.*?)'''", text, re.DOTALL)]


@pytest.mark.parametrize(("change", "code"), [(None, 0), ("differ", 1), ("lose", 3)])
def test_the_jenkins_stage_ends_with_the_code_that_it_decides_by(
    place: Place, change: str | None, code: int
) -> None:
    if change:
        getattr(place, change)()
    script = jenkins_scripts()[-1]
    done = place.shell(script, "sh", "-xe", MANIFESTD_CONFIG="manifestd.toml")
    assert done.returncode == code, done.stderr
    names = {path.name for path in (place.folder / "manifestd-reports").iterdir()}
    assert names == {"junit.xml", "report.html", "run.json"}


# -- Kubernetes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "code"), [(None, 0), ("differ", 1)])
def test_the_cron_job_s_command_writes_everything_and_keeps_the_code(
    place: Place, change: str | None, code: int
) -> None:
    if change:
        getattr(place, change)()
    spec = load("kubernetes-cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["command"] == ["/bin/sh", "-c"]
    (place.folder / "out").mkdir()
    done = place.shell(
        container["args"][0], "/bin/sh", OUT=str(place.folder / "out"),
        MANIFESTD_CONFIG=str(place.folder / "manifestd.toml"),
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    made = {path.name for path in (place.folder / "out").iterdir()}
    assert made == {"run.json", "run.txt", "manifestd.prom", "site"}
    text = (place.folder / "out" / "manifestd.prom").read_text()
    assert any(f.name == "manifestd_model_result" for f in text_string_to_metric_families(text))
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line.get("model") for line in lines} >= {"one", "two"}


def test_the_cron_job_mounts_what_it_uses_and_runs_without_privileges() -> None:
    document = load("kubernetes-cronjob.yaml")
    spec = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = spec["containers"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert volumes == mounts
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    places = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = {item["value"] for item in container["env"] if "value" in item}
    assert {"/out", "/tmp"} <= named & places


# -- all ------------------------------------------------------------------------------------


def texts() -> dict[str, str]:
    return {
        path.relative_to(CI).as_posix(): path.read_text(encoding="utf-8")
        for path in CI.rglob("*")
        if path.is_file()
    }


def test_every_command_that_is_named_exists() -> None:
    found = {
        name
        for text in texts().values()
        for name in re.findall(
            r"(?m)manifestd (?:--log-format json )?([a-z]+) (?:--|-o|site)", text
        )
    }
    assert found <= set(COMMANDS)
    assert {"run", "metrics", "report"} <= found


def test_what_is_installed_is_a_requirement_of_manifestd() -> None:
    given = load("github/action.yml")["inputs"]["requirement"]["default"]
    other = load("gitlab.yml")[".manifestd"]["variables"]["MANIFESTD_REQUIREMENT"]
    [line] = [line for line in jenkins_scripts()[0].splitlines() if "pip install" in line]
    for text in (given, other, line.split()[-1]):
        assert Requirement(text).name == "manifestd"


def test_the_overview_names_every_file_and_no_other() -> None:
    readme = texts()["README.md"]
    linked = set(re.findall(r"\]\(([\w/.-]+)\)", readme)) - {"../reference/exit-codes.md"}
    assert linked == set(texts()) - {"README.md"}
    assert (CI / "../reference/exit-codes.md").exists()
