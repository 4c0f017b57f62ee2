"""``run``: every model of the configuration, both sides, in one command."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from manifestd._version import __version__
from manifestd.cli.context import READ_ONCE, Context
from manifestd.cli.output import emit_lines
from manifestd.errors import ConfigError, ManifestdError, UsageError

if TYPE_CHECKING:
    from manifestd.model.failure import Failure
    from manifestd.model.run import Run
    from manifestd.model.run_view import RunView
    from manifestd.signing.base import Signer
    from manifestd.workflows.run_plan import Planned

log = logging.getLogger(__name__)

FORMATS = ("text", "json", "markdown", "html", "junit", "sarif", "csv")


@click.command(
    epilog="Example: manifestd run --report junit:report.xml --report html:report.html. "
    "Exit codes: 0 all pass, 1 a model fails, 2 wrong configuration, 3 a model could not be "
    "decided, 4 something does not verify, 130 interrupted (run it again to go on)."
)
@click.option("--offline", is_flag=True, help="Compare what is stored; ask no source.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only models of such names.")
@click.option(
    "--models", "models_file", metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Take the models from a list: one name a line, or CSV name,left,right.",
)  # fmt: skip
@click.option("--plan", is_flag=True, help="Say what it would do and cost; read no content.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Files read at once, over all models.")
@click.option(
    "--patience", type=click.FloatRange(0), default=120.0, show_default=True, metavar="SECONDS",
    help="How long one request may be tried again.",
)  # fmt: skip
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT:FILE",
    help="Also write the result in this format to a file; may be repeated.",
)  # fmt: skip
@click.option("--changes-only", is_flag=True, help="Leave models that pass out of the reports.")
@click.option(
    "--every-file", is_flag=True,
    help="Name identical files too: in json, html and junit. They are counted otherwise.",
)  # fmt: skip
@click.option("--key", metavar="URI", help="Sign with this key instead of the configured one.")
@click.option("--no-sign", is_flag=True, help="Sign nothing.")
@click.option("--no-notify", is_flag=True, help="Tell nobody whom the configuration names.")
@click.option(
    "--format", "form", metavar=f"[{'|'.join(FORMATS)}]", default="text", show_default=True,
    help="How the result looks.",
)  # fmt: skip
@click.pass_obj
def run(context: Context, /, form: str, reports: tuple[str, ...], **options: Any) -> int:
    """Judge every model: snapshot each side, compare, apply the policy, report.

    The models and their sides stand in manifestd.toml. One model's failure never
    stops or hides another. A run that was interrupted goes on where it stopped.
    """
    from manifestd.cli.run_reports import renderer, wanted_reports, write_reports

    written = wanted_reports(context, reports)
    _check_notify(context, options)
    chosen = _models(context, options)
    if options["plan"]:
        return _plan(context, chosen, options, form, reports=bool(reports))
    _warn_of_doubts(context, chosen, options)
    stdout = renderer(form)
    signer = None if options["no_sign"] else context.signer(options["key"])
    if signer is None and not options["no_sign"]:
        log.warning("no signing key is configured: snapshots and results will be unsigned")
    outputs = [str(path.absolute()) for _, path in written]
    found = _run(context, chosen, options, signer=signer, outputs=outputs)
    with context.open_store(cache=READ_ONCE) as store:
        view = store.runs.view(found.run_id)
        unprinted = None
        try:
            emit_lines(stdout.run(view, _options(options, color=True)))
        except ManifestdError as error:
            unprinted = error
        codes = write_reports(written, view, _options(options, color=False)) | {found.exit_code}
        _tell_others(context, view, notify=not options["no_notify"])
    if unprinted is not None:
        raise unprinted
    return 130 if found.interrupted else next(code for code in (4, 1, 3, 0) if code in codes)


def _plan(
    context: Context, chosen: _Chosen, options: dict[str, Any], form: str, *, reports: bool
) -> int:
    from manifestd.cli.run_plan import show_plan

    if options["offline"]:
        raise UsageError("--plan asks the sources for their listings, --offline forbids it")
    if reports:
        raise UsageError("--plan judges nothing that a --report could hold", hint="leave it out")
    return show_plan(
        context, chosen.models, notes=chosen.notes, errors=chosen.errors,
        patience=options["patience"], form=form,
    )  # fmt: skip


def _run(
    context: Context,
    chosen: _Chosen,
    options: dict[str, Any],
    *,
    signer: Signer | None,
    outputs: list[str],
) -> Run:
    from manifestd.cli.run_progress import run_progress
    from manifestd.store import open_store
    from manifestd.workflows.run import JOBS, RunRequest, run_models
    from manifestd.workflows.traces import traced

    request = RunRequest(
        models=chosen.models,
        tool=f"manifestd/{__version__}",
        token=secrets.token_hex(4),
        offline=options["offline"],
        every_file=options["every_file"],
        jobs=options["jobs"] or max(JOBS, os.cpu_count() or 1),
        retry_budget=options["patience"],
        own_outputs=(*context.own_outputs(), *outputs),
        notes=tuple(chosen.notes),
        errors=tuple(chosen.errors),
        scope=chosen.scope,
        asked=tuple(chosen.asked),
        found=tuple(chosen.found),
    )
    progress = run_progress(quiet=context.quiet, log_format=context.log_format)
    with progress, traced(progress, os.environ) as watcher:
        return run_models(
            request,
            context.config,
            partial(open_store, context.store_path, write=True),
            watcher,
            signer=signer,
            trust=context.trust,
        )


# -- which models ---------------------------------------------------------------------------


class _Chosen(NamedTuple):
    """The models to run, which those are, and why others may be missing.

    Attributes:
        models: In order.
        notes: What a reader must know besides.
        errors: Why models may be missing.
        scope: As in the run's document.
        asked: The ``[[select]]`` entries that were asked.
        found: Names that those found, or that were taken for them.
    """

    models: list[Planned]
    notes: list[str]
    errors: list[Failure]
    scope: Literal["all", "some", "list"]
    asked: list[dict[str, Any]]
    found: list[str]


def _models(context: Context, options: dict[str, Any]) -> _Chosen:
    """The models to run, mistakes in their sides found before anything is asked."""
    from manifestd.workflows.run_found import check_templates, plan_found
    from manifestd.workflows.run_plan import only, plan_models, read_models

    config = context.config
    notes: list[str] = []
    errors: list[Failure] = []
    asked: list[dict[str, Any]] = []
    names: list[str] = []
    listed = options["models_file"] is not None
    if listed:
        planned: list[Planned] = [*plan_models(config, read_models(options["models_file"]))]
        name = shlex.quote(str(options["models_file"]))
        # The steps of each model speak of the configuration's: they know of no list.
        notes.append(
            f"the models are those of a list: check one again with --models {name} --only NAME"
        )
    elif not config.model and not config.select:
        raise ConfigError(
            f"{config.label} names no model",
            hint='add [[model]] name = "org/name", or give a list with --models FILE',
        )
    else:
        written = plan_models(config)
        planned = [*written]
        if config.select:
            check_templates(config)
            names, errors, asked = _selected(context, options, notes)
            planned = plan_found(config, written, names)
            if not planned and not errors:
                raise ConfigError(
                    f"{config.label}: [[select]] finds no model",
                    hint="loosen its conditions, or see what they find: manifestd discover hf",
                )
    try:
        kept = only(planned, options["only"])
    except UsageError:
        # What could not be asked may know the name: that it is wrong is not decided.
        if not errors:
            raise
        kept = []
    if len(kept) < len(planned):
        notes.append(f"{len(planned) - len(kept)} of {len(planned)} models left out by --only")
    scope: Any = "list" if listed else "some" if len(kept) < len(planned) else "all"
    return _Chosen(kept, notes, errors, scope, asked, names)


def _selected(
    context: Context, options: dict[str, Any], notes: list[str]
) -> tuple[list[str], list[Failure], list[dict[str, Any]]]:
    """Names that ``[[select]]`` finds now, why not all, and what was asked.

    Offline those of the last run that had all of them.
    """
    if not options["offline"]:
        from manifestd.sources.base import SourceSettings
        from manifestd.workflows.roster import not_found_now
        from manifestd.workflows.select import asked_for, select_models

        settings = SourceSettings(retry_budget=options["patience"])
        names, errors = select_models(context.config.select, settings, environ=os.environ)
        for error in errors:
            log.warning("%s; the other models are judged", error.what)
        notes.append(f"[[select]] found {len(names)} models")
        if not errors and context.store_path.exists():  # an error says already why some are missing
            with context.open_store(cache=READ_ONCE) as store:
                missing = not_found_now(store, context.config, names)
            notes += [missing] if missing else []
        return names, errors, [asked_for(entry) for entry in context.config.select]
    from manifestd.workflows.status import last_whole_run

    with context.open_store(cache=READ_ONCE) as store:
        last = last_whole_run(store)
        found = last.head.found
        if found is None:  # an older run: it may have found any of its models
            found = [model.name for model in last.models()]
    notes.append(
        "[[select]] was not asked (--offline): the models of the last whole run were taken, "
        f"{last.head.run_id}"
    )
    # What that run could not find is missing here as well.
    return found, last.head.errors, []


def _warn_of_doubts(context: Context, chosen: _Chosen, options: dict[str, Any]) -> None:
    """Say before hours of reading what is probably mistyped; offline the result says it at once."""
    from manifestd.workflows.run_doubts import run_doubts
    from manifestd.workflows.run_plan import PlannedModel

    if options["offline"]:
        return
    mapped = any(isinstance(model, PlannedModel) and model.paths for model in chosen.models)
    stored = mapped and context.store_path.exists()
    with context.open_store() if stored else nullcontext() as store:
        for doubt in run_doubts(context.config, chosen.models, store):
            log.warning("%s", doubt)


# -- results --------------------------------------------------------------------------------


def _options(options: dict[str, Any], *, color: bool) -> Any:
    from manifestd.reports.base import ReportOptions

    terminal = color and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return ReportOptions(changes_only=options["changes_only"], color=terminal)


def _check_notify(context: Context, options: dict[str, Any]) -> None:
    """Refuse channels that could never be told, before anything is asked of a source."""
    if context.config.notify and not options["no_notify"] and not options["plan"]:
        from manifestd.workflows.notify_check import check_notify

        check_notify(context.config, os.environ, look_up=not options["offline"])


def _tell_others(context: Context, found: RunView, *, notify: bool) -> None:
    """Notify whom the configuration names, and GitHub; what fails there changes nothing here."""
    if os.environ.get("GITHUB_ACTIONS"):
        from manifestd.cli.github import tell_github

        tell_github(found, os.environ)
    if context.config.notify and notify:
        from manifestd.workflows.notify import notify_run

        try:
            with context.open_store(write=True) as store:
                notify_run(store, context.config, found, os.environ)
        except ManifestdError as error:
            log.warning("nobody was notified: %s", error.what)
