"""Sends spans as OTLP over HTTP in JSON (OpenTelemetry protocol 1.x), which every collector takes.

The SDK brings no such exporter, and the packaged ones bring protobuf and gRPC along.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from manifestd.redact import redact

_log: Final = logging.getLogger(__name__)

DEFAULT: Final = "http://127.0.0.1:4318"
SECONDS: Final = 10.0

_CODES: Final = {"UNSET": 0, "OK": 1, "ERROR": 2}


class OtlpExporter(SpanExporter):
    """Posts spans to a collector. A failure is logged once and costs those spans.

    Args:
        environ: Has the endpoint and its headers in the variables of the specification.

    Raises:
        ValueError: The endpoint is no URL.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        if not endpoint:
            endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or DEFAULT
            endpoint = endpoint.rstrip("/") + "/v1/traces"
        parts = urlsplit(endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the endpoint is no http or https URL")
        self._plain = parts.scheme == "http"
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {
            **_headers(environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")),
            **_headers(environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")),
            "content-type": "application/json",
        }
        self._told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post some spans; never raises."""
        kind = http.client.HTTPConnection if self._plain else http.client.HTTPSConnection
        connection = kind(self._host, self._port, timeout=SECONDS)
        try:
            body = msgspec.json.encode(document(spans))
            connection.request("POST", self._target, body=body, headers=self._headers)
            answer = connection.getresponse()
            answer.read(1024)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return self._failed(str(error))
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            return self._failed(f"it answered {answer.status}")
        return SpanExportResult.SUCCESS

    def _failed(self, why: str) -> SpanExportResult:
        if not self._told:
            _log.warning("traces were not taken by %s: %s", self._host, redact(why))
            self._told = True
        return SpanExportResult.FAILURE


def document(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """The export request: all spans share one resource and one scope."""
    first = spans[0]
    scope = first.instrumentation_scope
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(first.resource.attributes)},
                "scopeSpans": [
                    {
                        "scope": {
                            "name": scope.name if scope else "",
                            "version": (scope.version if scope else None) or "",
                        },
                        "spans": [_span(span) for span in spans],
                    }
                ],
            }
        ]
    }


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None
    made: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.start_time or 0),
        "endTimeUnixNano": str(span.end_time or 0),
        "attributes": _attributes(span.attributes or {}),
        "status": {"code": _CODES[span.status.status_code.name]},
    }
    if span.parent is not None:
        made["parentSpanId"] = f"{span.parent.span_id:016x}"
    if span.status.description:
        made["status"]["message"] = span.status.description
    return made


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    """64-bit integers are strings in the JSON form of protobuf."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


def _headers(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in text.split(",") if "=" in item)
    return {key.strip().lower(): unquote(value.strip()) for key, _, value in pairs if key.strip()}
