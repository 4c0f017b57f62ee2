from __future__ import annotations

from tests.loopback.hub_support import _no_tokens_or_proxies_of_this_machine, hub, naps

__all__ = ["_no_tokens_or_proxies_of_this_machine", "hub", "naps"]
