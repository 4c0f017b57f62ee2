"""OpenTelemetry traces of a run: a span for the run, below it one a model, below that one a side.

Only when the environment asks for them (docs/metrics.md) is anything loaded; the extra ``otel``
brings the SDK. Traces never change a result: what goes wrong with them is logged.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from manifestd._version import __version__
from manifestd.model.entry import Measurement
from manifestd.model.run import RunModel, RunSide
from manifestd.redact import redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from manifestd.workflows.run_team import Watcher

_log: Final = logging.getLogger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_QUEUE: Final = 16_384
_PACKAGED: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


def wanted(environ: Mapping[str, str]) -> list[str]:
    """Names of the exporters that the environment asks for; empty: no traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    default = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else ""
    names = (environ.get("OTEL_TRACES_EXPORTER") or default).split(",")
    return [name.strip() for name in names if name.strip() not in {"", "none"}]


@contextmanager
def traced(
    watcher: Watcher, environ: Mapping[str, str], *, clock: Callable[[], int] = time.time_ns
) -> Iterator[Watcher]:
    """Yield a watcher that tells ``watcher`` and makes spans, or ``watcher`` itself.

    Spans are sent when the block ends, which waits for the collector some seconds at most.

    Args:
        watcher: Who else is told of the run.
        environ: The environment's variables.
        clock: Nanoseconds since 1970.
    """
    names = wanted(environ)
    provider = _provider(names, environ) if names else None
    if provider is None:
        yield watcher
        return
    tracing = _Tracing(watcher, provider, environ.get("TRACEPARENT"), clock)
    try:
        yield tracing
    finally:
        try:
            tracing.end(sys.exc_info()[1])
            provider.shutdown()
        except Exception as error:  # whatever an exporter of another package does
            _log.warning("traces were not sent: %s", type(error).__name__)


def _provider(names: list[str], environ: Mapping[str, str]) -> TracerProvider | None:
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        _log.warning("traces need another library: pip install 'manifestd[otel]'")
        return None
    attributes = {"service.version": __version__}
    if "service.name" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", "") and not environ.get(
        "OTEL_SERVICE_NAME"
    ):
        attributes["service.name"] = "manifestd"
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    found = 0
    # A run offline ends thousands of spans at once; the usual queue of 2,048 would drop some.
    # Offline, spans end a thousand a second: the usual queue of 2,048 could lose some, one
    # without end would grow beside a collector that is slow.
    queue = None if environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else _QUEUE
    for name in names:
        try:
            exporter = _exporter(name, environ)
            provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=queue))
            found += 1
        except Exception as error:  # exporters of other packages fail in their own ways
            _log.warning("there are no traces by %r: %s", name[:40], redact(str(error)))
    return provider if found else None


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if name == "otlp":
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"
        )
        if protocol == "http/json":
            from manifestd.workflows.otlp import OtlpExporter

            return OtlpExporter(environ)
        name = _PACKAGED.get(protocol, protocol)
    from importlib.metadata import entry_points

    points = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not points:
        raise LookupError("no installed package has this exporter")
    made: SpanExporter = next(iter(points)).load()()
    return made


class _Tracing:
    """A watcher that makes spans of what it is told. Models and sides are told when they end.

    Sides of a model are taken one after another, from its beginning; so their spans are
    placed by how long each took.
    """

    def __init__(
        self,
        inner: Watcher,
        provider: TracerProvider,
        parent: str | None,
        clock: Callable[[], int],
    ) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": parent} if parent else {}
        self._above = TraceContextTextMapPropagator().extract(carrier)
        self._tracer = provider.get_tracer("manifestd", __version__)
        self._inner = inner
        self._clock = clock
        self._run: Any = None
        self._results: dict[str, int] = {}

    def started(self, run_id: str, models: int) -> None:
        """A run over so many models begins."""
        self._inner.started(run_id, models)
        self._run = self._tracer.start_span(
            "manifestd run",
            context=self._above,
            start_time=self._clock(),
            attributes={"manifestd.run.id": run_id, "manifestd.run.models": models},
        )

    def reading(self, size: int, files: int) -> None:
        """A side will read so many bytes in so many files."""
        self._inner.reading(size, files)

    def bytes(self, count: int) -> None:
        """So many content bytes arrived."""
        self._inner.bytes(count)

    def done(self, measurement: Measurement) -> None:
        """One file is finished."""
        self._inner.done(measurement)

    def judged(self, model: RunModel) -> None:
        """One model is finished."""
        self._inner.judged(model)
        self._results[model.result] = self._results.get(model.result, 0) + 1
        if self._run is not None:
            self._model(model)

    def end(self, error: BaseException | None) -> None:
        """The run is over, or was ended by an exception."""
        if self._run is None:
            return
        for result, count in sorted(self._results.items()):
            self._run.set_attribute(f"manifestd.run.{result}", count)
        bad = [result for result in ("fail", "error") if self._results.get(result)]
        if error is not None:
            self._fail(self._run, type(error).__name__)
        elif bad:
            self._fail(self._run, ", ".join(bad))
        self._run.end(end_time=self._clock())

    def _model(self, model: RunModel) -> None:
        end = self._clock()
        begin = end - int(model.seconds * 1e9)
        span = self._span("model", self._run, begin, {
            "manifestd.model": model.name,
            "manifestd.result": model.result,
            "manifestd.verdict": model.verdict or "none",
            "manifestd.exit_code": model.exit_code,
        })  # fmt: skip
        if model.result in {"fail", "error"}:
            self._fail(span, model.error.what if model.error else model.result)
        for name, side in model.sides.items():
            begin = self._side(span, name, side, begin)
        span.end(end_time=end)

    def _side(self, model: Any, name: str, side: RunSide, begin: int) -> int:
        end = begin + int(side.seconds * 1e9)
        span = self._span("side", model, begin, {
            "manifestd.side": name,
            "manifestd.reference": redact(side.reference),
            "manifestd.snapshot": side.snapshot or "none",
            "manifestd.revision": side.revision or "none",
            "manifestd.files": side.files,
            "manifestd.bytes": side.bytes,
            "manifestd.bytes_read": side.bytes_read,
            "manifestd.bytes_reused": side.bytes_reused,
            "manifestd.requests": side.requests,
        })  # fmt: skip
        if side.error is not None:
            span.set_attribute("error.type", side.error.code)
            self._fail(span, side.error.what)
        span.end(end_time=end)
        return end

    def _span(self, name: str, above: Any, begin: int, attributes: dict[str, Any]) -> Any:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(
            name, context=set_span_in_context(above), start_time=begin, attributes=attributes
        )

    @staticmethod
    def _fail(span: Any, why: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, redact(why)))
