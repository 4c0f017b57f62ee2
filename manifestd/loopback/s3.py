"""An S3 server on loopback (moto, extra ``demo``) that holds what it is given."""

from __future__ import annotations

import logging
import urllib.request
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from manifestd.errors import MissingExtraError

_HEADERS: Final = {
    "Content-Type": "application/octet-stream",
    # moto checks no signature, but reads the service and the region from here.
    "Authorization": "AWS4-HMAC-SHA256 Credential=demo/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


class LoopbackS3:
    """A threaded moto server with one call to fill it. Use as a context manager."""

    def __init__(self) -> None:
        try:
            from moto.server import ThreadedMotoServer  # noqa: PLC0415  (an extra, 0.35 s)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "the demo needs an S3 server, which is not installed",
                hint="pip install 'manifestd[demo]'",
            ) from error
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.endpoint = ""

    def put(self, bucket: str, files: dict[str, bytes], prefix: str = "") -> None:
        """Make the bucket and put every file below the prefix."""
        self._request(f"/{bucket}", b"")
        for path, data in files.items():
            self._request(f"/{bucket}/{quote(prefix + path)}", data)

    def _request(self, path: str, data: bytes) -> None:
        request = urllib.request.Request(  # noqa: S310  (loopback)
            self.endpoint + path, data=data, method="PUT", headers=_HEADERS
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
