"""Who may ask: the token, and where there is none, programs of this computer alone.

A page that somebody has open in a browser could ask a server on his own computer too. Its requests
name the page they come from (Origin), or the name it goes by (Host), and are refused.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from mrcnn.serve.limits import Refused

# What tells nothing and computes nothing: the page, which asks for the token, and health checks.
OPEN = ("/", "/page.css", "/page.js", "/icon.svg", "/favicon.ico", "/healthz", "/health")

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def is_loopback(host: str) -> bool:
    """Whether a name or an address is that of this computer alone."""
    host = host.strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(path: str, headers: Mapping[str, str], token: str | None) -> None:
    """Let a request pass, or raise Refused.

    headers: by name in small letters. token: None where the server listens on loopback without.
    """
    host = headers.get("host", "")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Refused(403, f"Pages of {origin} may not ask this server.")
    if token is None:
        if not is_loopback(urlsplit(f"//{host}").hostname or ""):
            raise Refused(
                403,
                "Without a token this server answers by the names localhost and 127.0.0.1 only.",
            )
    elif path not in OPEN and not _has_token(headers.get("authorization", ""), token):
        raise Refused(
            401,
            "The token is missing or another one: send the header Authorization: Bearer TOKEN.",
            {"WWW-Authenticate": "Bearer"},
        )


def _has_token(authorization: str, token: str) -> bool:
    """By "Bearer TOKEN", or as the password of "Basic", which is all that some programs send."""
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())
