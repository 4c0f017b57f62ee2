"""Metrics of the stored runs, in the text format that Prometheus and its node exporter read.

Every value is a gauge of the last run that had the model: a scrape between two runs sees the
same again. Times are seconds since 1970, so that alerts can be written on ``time() - metric``
and fire also when nobody runs manifestd any more. docs/metrics.md lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, get_args

import msgspec

from manifestd._version import __version__
from manifestd.display import printable
from manifestd.model.change import Result
from manifestd.model.run import Run, RunModel, Status, StatusModel
from manifestd.store import Store
from manifestd.workflows.status import status_of

RESULTS: Final[tuple[Result, ...]] = get_args(Result)

Sample = tuple[dict[str, str], float]
"""Labels, value."""

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
    "manifestd_models": "Models that were ever run, by last result.",
}


def metrics_of(store: Store, now: datetime) -> str:
    """The metrics of everything that was run, ending in a newline.

    Args:
        store: Opened for reading.
        now: When they are written.

    Raises:
        TamperedError: A stored result is damaged.
    """
    status = status_of(store, now)
    latest = store.runs.latest()
    samples: dict[str, list[Sample]] = {name: [] for name in (*_WHOLE, *_PER_RUN, *_PER_MODEL)}
    _whole(samples, status, now)
    if status.last_run is not None:
        _run(samples, store.runs.view(status.last_run).head)
    for model in status.models:
        _model(samples, model, store.runs.document(latest[model.name]), now)
    help_of = {**_WHOLE, **_PER_RUN, **_PER_MODEL}
    return "".join(_family(name, help_of[name], found) for name, found in samples.items())


def _whole(samples: dict[str, list[Sample]], status: Status, now: datetime) -> None:
    samples["manifestd_info"].append(({"version": __version__}, 1))
    samples["manifestd_written_timestamp_seconds"].append(({}, now.timestamp()))
    for result, count in msgspec.to_builtins(status.counts).items():
        samples["manifestd_models"].append(({"result": result}, count))


def _run(samples: dict[str, list[Sample]], run: Run) -> None:
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
        samples[f"manifestd_run_{name}"].append(({}, value))
    for result, count in msgspec.to_builtins(run.counts).items():
        samples["manifestd_run_models"].append(({"result": result}, count))


def _model(
    samples: dict[str, list[Sample]], status: StatusModel, model: RunModel, now: datetime
) -> None:
    name = {"model": model.name}
    for result in RESULTS:
        samples["manifestd_model_result"].append(
            ({**name, "result": result}, result == model.result)
        )
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
        samples[f"manifestd_model_{key}"].append((name, value))
    for side, diff in zip(model.compared, model.diffs, strict=False):
        for verdict, count in msgspec.to_builtins(diff.counts).items():
            labels = {**name, "side": side, "verdict": verdict}
            samples["manifestd_model_files"].append((labels, count))
    for labels, count in _findings(model):
        samples["manifestd_model_policy_findings"].append(({**name, **labels}, count))
    for side in model.sides:
        _side(samples, model, side)


def _side(samples: dict[str, list[Sample]], model: RunModel, side: str) -> None:
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
        samples[f"manifestd_side_{key}"].append((labels, value))
    for grade, count in msgspec.to_builtins(found.evidence or {}).items():
        samples["manifestd_side_files"].append(({**labels, "evidence": grade}, count))


def _findings(model: RunModel) -> Iterator[Sample]:
    counts: dict[tuple[str, str], int] = {}
    for finding in model.policy:
        key = (finding.rule, "waived" if finding.waived is not None else finding.severity)
        counts[key] = counts.get(key, 0) + 1
    for (rule, severity), count in sorted(counts.items()):
        yield {"rule": rule, "severity": severity}, count


def _family(name: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_label(item)}"' for key, item in labels.items())
        lines.append(
            f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"
        )
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _label(text: str) -> str:
    """Control characters would be taken as they are, and one line feed ends the whole file."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()
