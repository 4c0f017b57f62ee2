"""The second origin of the loopback Hub: the store of LFS content, by signed links and by Xet."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from manifestd.loopback.hub_http import Origin, OriginHandler
from manifestd.loopback.hub_repository import HubFile
from manifestd.loopback.hub_xet import ACCESS, XORB, reconstruction, xorb

if TYPE_CHECKING:
    from manifestd.loopback.hub import LoopbackHub

_DENIED: Final = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
_SECRET: Final = b"the loopback store signs for nobody else"


def signed_query(path: str) -> str:
    """The signature a link to ``path`` carries."""
    signature = hmac.new(_SECRET, path.encode(), hashlib.sha256).hexdigest()
    return f"Expires=4102444800&X-Signature={signature}"


def link_path(repo: str, file: HubFile) -> str:
    """The path of a file in the store; says nothing of its name, as the real one."""
    return "/objects/" + hashlib.sha256(f"{repo}\0{file.path}\0{file.sha256}".encode()).hexdigest()


class StoreHandler(OriginHandler):
    """Serves signed links with ranges, and Xet; refuses other links, and whoever brings a Hub token."""

    origin: Origin = "cdn"

    def answer(self) -> None:
        """Answer a signed link, or the Xet client."""
        house: LoopbackHub = self.server.house
        path, _, query = self.exchange.target.partition("?")
        if self.segments[0] in {"v1", "v2", XORB}:
            self._answer_xet(house)
        elif "authorization" in self.exchange.headers:
            # Stores of the S3 kind take one kind of credentials only.
            self.send(400, {}, b"<Error><Code>InvalidArgument</Code></Error>")
        elif "expired-link" in self.struck or query != signed_query(path):
            self.send(403, {"Content-Type": "application/xml"}, _DENIED)
        else:
            found = house.linked(path)
            if found is None:
                self.send(404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            name, file = found
            # Neither a sha256 nor a git id: the store's own business.
            etag = hashlib.sha256(path.encode()).hexdigest()[:32]
            kind = {"Content-Type": "application/octet-stream", "ETag": f'"{etag}"'}
            self.send_content(name, file.served, kind)

    def _answer_xet(self, house: LoopbackHub) -> None:
        """A file's plan, which asks for the token of this side, or a range of its chunks."""
        route, hash_ = self.segments[0], self.segments[-1]
        found = house.of_xet(hash_)
        if found is None or self.segments[:-1] not in ([XORB], ["v1", "reconstructions"]):
            # Of the newer routes too: clients then ask for the older ones.
            self.send(404, {}, b"")
        elif route == XORB:
            self.send_content(found[0], xorb(found[1].served), {})
        elif self.exchange.headers.get("authorization") != f"Bearer {ACCESS}":
            self.send(401, {}, b"")
        else:
            self.send_json(reconstruction(found[1], house.store_endpoint))
