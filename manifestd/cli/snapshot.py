"""``snapshot``: take, sign and store a snapshot of one place."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from manifestd._version import TOOL
from manifestd.cli.context import Context
from manifestd.cli.options import FORMAT, KEY, text
from manifestd.cli.output import emit, emit_json, say, table
from manifestd.display import printable, size_text
from manifestd.errors import UsageError
from manifestd.model.entry import Problem
from manifestd.model.reference import (
    Reference,
    of_page,
    parse_directory,
    parse_hub,
    parse_oci,
    parse_s3,
)

if TYPE_CHECKING:
    from manifestd.model.snapshot import SnapshotResult
    from manifestd.workflows.plan import SnapshotRequest
    from manifestd.workflows.taking import Taken

log = logging.getLogger(__name__)

_PARSERS: Final[dict[str, Callable[[str], Reference]]] = {
    "hf": parse_hub,
    "s3": parse_s3,
    "dir": parse_directory,
    "cache": partial(parse_hub, scheme="hf-cache"),
    "oci": parse_oci,
}
_SCHEMES = {"hf": "hf", "s3": "s3", "dir": "file", "cache": "hf-cache", "oci": "oci"}


@click.command(
    epilog="Example: manifestd snapshot hf openai-community/gpt2@main. "
    "Exit codes: 0 stored, 3 stored but incomplete or not possible, 4 bytes contradict a declared digest."
)
@click.argument("kind", type=click.Choice(list(_PARSERS)))
@click.argument("reference", required=False)
@click.option("--all", "every", is_flag=True, help="cache: every revision of every repository.")
@click.option(
    "--read", type=click.Choice(["missing", "all", "none"]), default=None,
    help="Which bytes: those needed for a sha256 of every file, small texts and tensor headers "
    "(missing, the default); every byte (all, the default for cache); the listing only (none).",
)  # fmt: skip
@click.option("--name", type=text, help="Name to file the snapshot under.")
@click.option(
    "--ignore", type=text, multiple=True, metavar="GLOB", help="Leave these files out; recorded."
)
@KEY
@click.option("--no-sign", is_flag=True, help="Store it unsigned.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Files read at the same time.")
@click.option("--fresh", is_flag=True, help="Read again what could be reused.")
@click.option(
    "--sample", metavar="SHARE", help="Read a share (5%) of reusable files again, in rotation."
)
@click.option(
    "--evidence-for", metavar="REF",
    help="Also compute the checksums that this stored snapshot holds instead of a sha256.",
)  # fmt: skip
@click.option(
    "--request-payer", is_flag=True, help="S3: accept the charges of a requester-pays bucket."
)
@click.option(
    "--checksums", multiple=True, metavar="REPORT",
    help="S3: Compute-checksum completion report (file or s3://) to take as stored evidence.",
)  # fmt: skip
@click.option(
    "--inventory", metavar="MANIFEST", help="S3: an Inventory manifest.json instead of listing."
)
@click.option("--anonymous", is_flag=True, help="S3: do not sign requests (public buckets).")
@click.option(
    "--s3-option", multiple=True, metavar="KEY=VALUE",
    help="S3: heads=auto|always|never, addressingStyle=auto|path|virtual, etagIsMd5=true.",
)  # fmt: skip
@click.option(
    "--explain", is_flag=True, help="S3: say what evidence there is and what better would cost."
)
@click.option(
    "--plain-http", is_flag=True, help="Registry: speak http also to other machines than this."
)
@FORMAT
@click.pass_obj
def snapshot(
    context: Context, /, kind: str, reference: str | None, every: bool, form: str, **options: Any
) -> int:
    """Take, sign and store a snapshot of a Hub repository, an S3 prefix, a directory, a Hub cache or a registry."""
    if every != (reference is None) or (every and kind != "cache"):
        raise UsageError("name one REFERENCE, or --all for a Hub cache")
    if reference is not None:
        request = _request(context, kind, _parse(kind, reference), options)
        if options["explain"]:
            return _explain(request, form)
        taken = _take(context, request, form, options)
        if form == "json":
            emit_json(taken.result)
        else:
            _show(context, taken.result, taken.exit_code)
        return taken.exit_code
    from manifestd.cli.snapshot_all import take_all

    return take_all(
        lambda found: _take(context, _request(context, kind, found, options), form, options),
        None if form == "json" else lambda taken: _show(context, taken.result, taken.exit_code),
    )


def _take(context: Context, request: SnapshotRequest, form: str, options: dict[str, Any]) -> Taken:
    from manifestd.cli.progress import progress
    from manifestd.workflows.snapshot import take_snapshot

    signer = None if options["no_sign"] else context.signer(options["key"])
    if signer is None and not options["no_sign"]:
        log.warning("no signing key is configured: the snapshot will be unsigned")
    with context.open_store(write=True) as store:
        taken = take_snapshot(
            request,
            store=store,
            tool=TOOL,
            signer=signer,
            progress=partial(progress, quiet=context.quiet or form == "json"),
        )
    if taken.resumed:
        log.info("%d files were taken over from an interrupted run", taken.resumed)
    return taken


def _request(
    context: Context, kind: str, reference: Reference, options: dict[str, Any]
) -> SnapshotRequest:
    from manifestd.workflows.plan import SnapshotRequest

    defaults = context.config.defaults
    extra = {
        "anonymous": options["anonymous"],
        "requesterPays": options["request_payer"],
        "checksums": list(options["checksums"]),
        "inventory": options["inventory"],
        **_s3_options(options["s3_option"]),
    }
    set_options = {key: value for key, value in extra.items() if value}
    if kind != "s3" and (set_options or options["explain"]):
        raise UsageError(
            "--request-payer, --checksums, --inventory, --anonymous, --s3-option and --explain "
            "are for s3 only"
        )
    if options["plain_http"]:
        if kind != "oci":
            raise UsageError("--plain-http is for oci only")
        set_options["plainHttp"] = True
    return SnapshotRequest(
        reference=reference,
        # A cache's blobs are named by what the Hub declared; only their bytes can bear that out.
        read=options["read"] or ("all" if kind == "cache" else defaults.read),
        ignore=tuple(options["ignore"]) or tuple(defaults.ignore),
        name=options["name"],
        jobs=options["jobs"],
        fresh=options["fresh"],
        sample=_share(options["sample"]),
        evidence_for=options["evidence_for"],
        regions=defaults.regions,
        options=set_options,
        own_outputs=context.own_outputs(),
    )


def _parse(kind: str, text: str) -> Reference:
    scheme = text.partition("://")[0] if "://" in text else None
    expected = _SCHEMES[kind]
    if scheme not in {None, expected}:
        meant = of_page(text)
        raise UsageError(
            f"`snapshot {kind}` takes {expected}:// references, not {text!r}",
            hint=f"write: manifestd snapshot hf {meant}"
            if meant
            else "name the kind that fits: " + ", ".join(_SCHEMES),
        )
    return _PARSERS[kind](text)


def _s3_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs; the source checks names and values."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key == "read":
            raise UsageError(
                f"not an S3 option: {pair!r}", hint="write --s3-option heads=always, for instance"
            )
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def _share(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise UsageError(f"not a share: {text!r}", hint="write --sample 5% or --sample 0.05")
    return value


def _show(context: Context, result: SnapshotResult, exit_code: int) -> None:
    """The result for people: what was recorded, how it is known, what went wrong."""
    state = "complete" if result.complete else "INCOMPLETE"
    rows = [
        ("snapshot", result.snapshot),
        ("manifest", result.manifest or "none (a file's sha256 is unknown)"),
        ("source", result.source + (f" at {result.revision}" if result.revision else "")),
        ("files", f"{result.files} ({size_text(result.bytes)}), {state}"),
        ("evidence", result.evidence.told()),
        (
            "read",
            f"{size_text(result.bytes_read)} in {result.requests} requests, {result.seconds:.1f} s",
        ),
        ("signed by", ", ".join(result.signed_by) or "nobody (unsigned)"),
    ]
    emit(table(rows))
    _say_problems([one for one in result.problems if one.severity != "note" or not context.quiet])
    if exit_code == 4:
        say("Bytes contradict what the source declares; see the mismatches above.")


_ALIKE: Final = 5
"""Problems of one code that are told one by one; thousands would hide the one that matters."""


def _say_problems(problems: Sequence[Problem]) -> None:
    met: Counter[str] = Counter()
    for problem in problems:
        met[problem.code] += problem.severity != "mismatch"
        if met[problem.code] <= _ALIKE or problem.severity == "mismatch":
            _say_problem(problem)
    for code, count in met.items():
        if count > _ALIKE:
            say(f"… and {count - _ALIKE} more {code} (--format json lists them)")


def _say_problem(problem: Problem) -> None:
    word = {"error": "Problem", "mismatch": "MISMATCH", "note": "Note"}[problem.severity]
    where = f"{printable(problem.path)}: " if problem.path is not None else ""
    say(f"{word}: {where}{printable(problem.what)}")
    if problem.hint:
        say(f"  hint: {printable(problem.hint)}")


def _explain(request: SnapshotRequest, form: str) -> int:
    from manifestd.cli.explanation import explanation_text
    from manifestd.workflows.explain_evidence import explain_place

    found = explain_place(request)
    if form == "json":
        emit_json(found)
        return 0
    emit(explanation_text(found))
    _say_problems(found.problems)
    return 0
