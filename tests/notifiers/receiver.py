"""A receiver on loopback that keeps what is posted to it, with or without TLS."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Receiver:
    """What came in, and what is answered.

    Attributes:
        status: Of the answer.
        headers: Further headers of the answer.
        posts: (path, headers by lower-case name, body) in order.
        drip: Send the answer a byte at a time until the client leaves.
    """

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.drip = False
        self.port = 0
        self.gone = threading.Event()


@contextmanager
def receiver(certificate: Path | None = None) -> Iterator[Receiver]:
    """A running receiver."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            state.posts.append((self.path, headers, body))
            if state.drip:
                self._drip()
                return
            self.send_response(state.status)
            for key, value in state.headers.items():
                self.send_header(key, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def _drip(self) -> None:
            try:
                self.wfile.write(b"H")
                while not state.gone.wait(0.05):
                    self.wfile.write(b"x")
            except OSError:
                state.gone.set()
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.gone.set()
        server.shutdown()
        thread.join()
        server.server_close()


def make_certificate(path: Path, host: str) -> None:
    """Write a key and a self-signed certificate for a host name into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
