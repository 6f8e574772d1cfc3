"""The two calls an instance key may make about its own instance: stop it, destroy it.

``PUT /api/v0/instances/{id}/ {"state": "stopped"}`` and ``DELETE`` of the same path, with the key as a
bearer token (https://docs.vast.ai, API reference).
"""

import json
import urllib.error
import urllib.request
from typing import Mapping, Tuple

from choline_tui.kernel.lease import DESTROY
from choline_tui.kernel.text import plain

__all__ = ["ask"]


def ask(action: str, instance: Mapping[str, str], timeout: float = 30.0) -> Tuple[bool, str]:
    """Make the call once: whether the market took it, and its words. Never raises."""
    url = "%s/api/v0/instances/%s/" % (instance["VAST_URL"].rstrip("/"), instance["CONTAINER_ID"])
    if not url.startswith(("http://", "https://")):
        return False, "not a URL of a market"
    destroy = action == DESTROY
    request = urllib.request.Request(
        url,
        data=b"{}" if destroy else b'{"state": "stopped"}',
        method="DELETE" if destroy else "PUT",
        headers={
            "Authorization": "Bearer " + instance["CONTAINER_API_KEY"],
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            body = answer.read(65536)
    except urllib.error.HTTPError as e:
        with e:
            return False, "HTTP %d" % e.code
    except (OSError, ValueError) as e:
        return False, plain(str(e))[:200]
    except Exception as e:  # http.client raises its own tree for answers that are none
        return False, type(e).__name__
    try:
        data = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False, "the answer is not JSON"
    if isinstance(data, dict) and data.get("success") is False:
        return False, plain(str(data.get("msg") or data.get("error") or "refused"))[:200]
    return True, ""
