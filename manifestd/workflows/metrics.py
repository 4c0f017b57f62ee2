"""Metrics of the stored runs, in the text format that Prometheus and its node exporter read.

Every value is a gauge of the last run that had the model: a scrape between two runs sees the
same again. Times are seconds since 1970, so that alerts can be written on ``time() - metric``
and fire also when nobody runs manifestd any more. docs/metrics.md lists them all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import IO, Final, get_args

import msgspec

from manifestd._version import __version__
from manifestd.config import Config
from manifestd.display import printable
from manifestd.model.change import Result
from manifestd.model.run import Run, RunModel, StatusModel
from manifestd.store import Store
from manifestd.workflows.run_tally import Tally
from manifestd.workflows.status import last_run, statuses, unasked

RESULTS: Final[tuple[Result, ...]] = get_args(Result)

_BLOCK: Final = 1 << 16

_PER_MODEL: Final = {
    "manifestd_model_result": "1 for the result that the model has, 0 for the others.",
    "manifestd_model_last_audit_timestamp_seconds": "When what was judged last was looked at.",
    "manifestd_model_last_pass_timestamp_seconds": "The same, of the last run that passed.",
    "manifestd_model_last_pass_age_seconds": "How long ago that was when this was written.",
    "manifestd_model_duration_seconds": "How long judging took.",
    "manifestd_model_exit_code": "What the model alone would have ended with.",
    "manifestd_model_files": "Files by verdict of the comparison with the reference side.",
    "manifestd_model_policy_findings": "What the policy objects to, by rule and severity.",
    "manifestd_side_up": "1 when the side could be snapshotted.",
    "manifestd_side_complete": "1 when every file's sha256 is known and nothing out of reach.",
    "manifestd_side_captured_timestamp_seconds": "When the side's listing was taken.",
    "manifestd_side_duration_seconds": "How long taking the snapshot took.",
    "manifestd_side_bytes": "Size of all files.",
    "manifestd_side_bytes_read": "Content bytes read.",
    "manifestd_side_bytes_reused": "Bytes of files whose measurement was taken over.",
    "manifestd_side_requests": "Requests made.",
    "manifestd_side_files": "Files by how their sha256 is known.",
}
_PER_RUN: Final = {
    "manifestd_run_timestamp_seconds": "When the last finished run started.",
    "manifestd_run_duration_seconds": "How long it took.",
    "manifestd_run_exit_code": "Its exit code.",
    "manifestd_run_interrupted": "1 when it was interrupted.",
    "manifestd_run_bytes_read": "Content bytes read.",
    "manifestd_run_bytes_reused": "Bytes of files whose measurement was taken over.",
    "manifestd_run_requests": "Requests made.",
    "manifestd_run_models": "Models by result.",
}
_WHOLE: Final = {
    "manifestd_info": "1, with the version that wrote this.",
    "manifestd_written_timestamp_seconds": "When this was written.",
    "manifestd_models": "Models on the list that were ever run, by last result.",
    "manifestd_models_off_list": "Models that were run and are no more on the list; nothing else counts them.",
    "manifestd_selects_failed": "[[select]] entries that could not be asked: models may be missing.",
}


class _Families:
    """A file for each metric, because a text has all samples of one together.

    A model has some of nearly every metric; in memory they would be larger than the model.
    """

    def __init__(self, kept: ExitStack) -> None:
        self._kept = kept
        self._files: dict[str, IO[str]] = {}

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Write one sample."""
        if name not in self._files:
            file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115
            self._files[name] = self._kept.enter_context(file)
        inside = ",".join(f'{key}="{_label(item)}"' for key, item in labels.items())
        self._files[name].write(
            f"{name}{{{inside}}} {_number(value)}\n" if inside else f"{name} {_number(value)}\n"
        )

    def text(self) -> Iterator[str]:
        """All that have samples, in the order of the tables above."""
        for name, words in {**_WHOLE, **_PER_RUN, **_PER_MODEL}.items():
            file = self._files.get(name)
            if file is not None:
                yield f"# HELP {name} {words}\n# TYPE {name} gauge\n"
                file.seek(0)
                while lines := file.readlines(_BLOCK):
                    yield "".join(lines)


def metrics_of(store: Store, now: datetime, config: Config | None = None) -> Iterator[str]:
    """The metrics of everything that was run, in pieces of whole lines.

    Args:
        store: Opened for reading.
        now: When they are written.
        config: Says which models are on the list; None: all are. Of others there is no sample,
            so that no alert about them goes on.

    Raises:
        TamperedError: A stored result is damaged.
    """
    tally, off_list = Tally(), 0
    with ExitStack() as kept:
        families = _Families(kept)
        for status, model in statuses(store, now, config=config):
            if not status.listed:
                off_list += 1
                continue
            tally.add(model)
            _model(families, status, model, now)
        families.add("manifestd_info", {"version": __version__}, 1)
        families.add("manifestd_written_timestamp_seconds", {}, now.timestamp())
        for result, count in msgspec.to_builtins(tally.counts()).items():
            families.add("manifestd_models", {"result": result}, count)
        families.add("manifestd_models_off_list", {}, off_list)
        last = last_run(store)
        if last is not None:
            families.add("manifestd_selects_failed", {}, len(unasked(store)))
            _run(families, store.runs.view(last).head)
        yield from families.text()


def _run(families: _Families, run: Run) -> None:
    values = {
        "timestamp_seconds": _seconds(run.started_at),
        "duration_seconds": run.seconds,
        "exit_code": run.exit_code,
        "interrupted": run.interrupted,
        "bytes_read": run.bytes_read,
        "bytes_reused": run.bytes_reused,
        "requests": run.requests,
    }
    for name, value in values.items():
        families.add(f"manifestd_run_{name}", {}, value)
    for result, count in msgspec.to_builtins(run.counts).items():
        families.add("manifestd_run_models", {"result": result}, count)


def _model(families: _Families, status: StatusModel, model: RunModel, now: datetime) -> None:
    name = {"model": model.name}
    for result in RESULTS:
        families.add("manifestd_model_result", {**name, "result": result}, result == model.result)
    values = {
        "last_audit_timestamp_seconds": _seconds(status.at),
        "duration_seconds": model.seconds,
        "exit_code": model.exit_code,
    }
    if status.last_pass is not None:
        passed = _seconds(status.last_pass)
        values["last_pass_timestamp_seconds"] = passed
        values["last_pass_age_seconds"] = max(0.0, round(now.timestamp() - passed, 3))
    for key, value in values.items():
        families.add(f"manifestd_model_{key}", name, value)
    for side, diff in zip(model.compared, model.diffs, strict=False):
        for verdict, count in msgspec.to_builtins(diff.counts).items():
            labels = {**name, "side": side, "verdict": verdict}
            families.add("manifestd_model_files", labels, count)
    for labels, count in _findings(model):
        families.add("manifestd_model_policy_findings", {**name, **labels}, count)
    for side in model.sides:
        _side(families, model, side)


def _side(families: _Families, model: RunModel, side: str) -> None:
    found = model.sides[side]
    labels = {"model": model.name, "side": side}
    values: dict[str, float] = {
        "up": found.snapshot is not None,
        "complete": found.complete,
        "duration_seconds": found.seconds,
        "bytes": found.bytes,
        "bytes_read": found.bytes_read,
        "bytes_reused": found.bytes_reused,
        "requests": found.requests,
    }
    if found.captured_at is not None:
        values["captured_timestamp_seconds"] = _seconds(found.captured_at)
    for key, value in values.items():
        families.add(f"manifestd_side_{key}", labels, value)
    for grade, count in msgspec.to_builtins(found.evidence or {}).items():
        families.add("manifestd_side_files", {**labels, "evidence": grade}, count)


def _findings(model: RunModel) -> Iterator[tuple[dict[str, str], int]]:
    counts: dict[tuple[str, str], int] = {}
    for finding in model.policy:
        key = (finding.rule, "waived" if finding.waived is not None else finding.severity)
        counts[key] = counts.get(key, 0) + 1
    for (rule, severity), count in sorted(counts.items()):
        yield {"rule": rule, "severity": severity}, count


def _label(text: str) -> str:
    """Control characters would be taken as they are, and one line feed ends the whole file."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()
