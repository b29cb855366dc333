"""Why a relay could not be reached, in one sentence. Whatever prevents a connection is taken to pass: an outage."""

import asyncio
import datetime as dt
import errno
import re
import socket
import ssl
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from websockets.exceptions import InvalidMessage

from phantom_messenger.client.connect import Answered
from phantom_messenger.client.faults import note
from phantom_messenger.client.sanitize import one_line

if TYPE_CHECKING:
    from cryptography import x509

LOOK_TIMEOUT: Final = 3.0
"""Seconds for a second look at a certificate that was refused."""

# X509_V_ERR_*, of OpenSSL's x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset({62, 64})

_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SECURE: Final = {"ws": "wss", "http": "https"}
_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_PLAIN: Final = "it does not answer; is it ws://, without TLS?"


class Outage(NamedTuple):
    """What to report.

    ``reason`` is a sentence; ``retry_after`` the seconds that were asked for, or None; ``busy``: a relay is there, but
    full or overloaded.
    """

    reason: str
    retry_after: float | None = None
    busy: bool = False


async def outage(url: str, error: Exception) -> Outage:
    """What an attempt to connect to ``url`` has ended with; whoever answers there has said it, and can say anything."""
    try:
        return await _explained(url, error)
    except Exception as fault:  # noqa: BLE001 - see above
        return Outage(f"something failed that should not ({note('why there is no connection is not said', fault)})")


async def _explained(url: str, error: Exception) -> Outage:
    is_tls = url.startswith("wss:")
    match error:
        case Answered():
            return _answered(url, error)
        case TimeoutError():
            return Outage(no_answer(url))
        case ssl.SSLCertVerificationError():
            return Outage(await _distrust(url, error))
        case ssl.SSLError():
            return Outage(f"the TLS handshake failed ({error.reason or 'no reason given'}); is it ws://, without TLS?")
        case ConnectionResetError() | BrokenPipeError() | EOFError() if is_tls:
            return Outage("the connection was closed during the TLS handshake; is it ws://, without TLS?")
        case OSError():
            return Outage(_why(error))
        case InvalidMessage() if not is_tls:
            return Outage("the answer is not that of a relay; is it wss://, with TLS?")
        case _:
            return Outage("there is no Phantom relay at this address")


def no_answer(url: str) -> str:
    """Said when time has run out."""
    return _PLAIN if url.startswith("wss:") else "it does not answer"


def _answered(url: str, error: Answered) -> Outage:
    if error.location:
        return Outage(_redirected(url, error.location))
    if error.status in _BUSY:
        return Outage("the relay is not ready, or has too many connections", _seconds(error), busy=True)
    if error.status == HTTPStatus.BAD_REQUEST and url.startswith("ws:"):
        return Outage("there is no Phantom relay at this address (HTTP 400); is it wss://, with TLS?")
    return Outage(f"there is no Phantom relay at this address (HTTP {error.status})", _seconds(error))


def _redirected(url: str, location: str) -> str:
    """A redirect is followed nowhere; one that only asks for TLS says what to dial."""
    here = urlsplit(url)
    try:
        there = urlsplit(urljoin(url.replace("ws", "http", 1), location))
        host, port = there.hostname, there.port or _DEFAULT_PORTS.get(there.scheme)
    except ValueError:
        host = port = None
    if host is None:
        return "the address redirects to a place where no relay can be; do you have to log in to this network first?"
    if host == here.hostname and here.scheme == "ws" and there.scheme in _SECURE.values():
        name = f"[{host}]" if ":" in host else host
        at = name if port == _DEFAULT_PORTS["wss"] else f"{name}:{port}"
        return f"the address asks for TLS; use wss://{at}{here.path}"
    return (
        f"the address redirects to {one_line(host)}, and a redirect is not followed; "
        "do you have to log in to this network first, or has the relay moved?"
    )


def _seconds(error: Answered) -> float | None:
    """RFC 9110 section 10.2.3: seconds, or a date."""
    text = error.retry_after.strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(text) - dt.datetime.now(dt.UTC)).total_seconds())
    return None


async def _distrust(url: str, error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code not in {_NOT_YET_VALID, _EXPIRED} | _OTHER_NAME:
        return f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE may name your own"
    shown = await _certificate(url)
    today = f"this machine's clock says {_day(dt.datetime.now(dt.UTC))}"
    if code == _NOT_YET_VALID:
        since = "" if shown is None else f" before {_day(shown.not_valid_before_utc)}"
        return f"its certificate is not valid{since}, and {today}: set the clock"
    if code == _EXPIRED:
        on = "" if shown is None else f" on {_day(shown.not_valid_after_utc)}"
        return f"its certificate expired{on}, and {today}: its operator has to renew it, or the clock is wrong"
    names = [] if shown is None else _names(shown)
    meant = f"for {one_line(', '.join(names))}" if names else "for another name"
    return f"its certificate is {meant}, not for {urlsplit(url).hostname}; check the name in the relay's URL"


async def _certificate(url: str) -> "x509.Certificate | None":
    """The certificate that was refused, from a connection on which nothing is said; None if it cannot be had."""
    from cryptography import x509  # noqa: PLC0415 - loading it takes longer than most commands

    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(Exception):  # of whoever is there; it would only make the sentence better
        async with asyncio.timeout(LOOK_TIMEOUT):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _DEFAULT_PORTS["wss"], ssl=context, server_hostname=parts.hostname
            )
            try:
                der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
            return x509.load_der_x509_certificate(der)
    return None


def _names(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - as above
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _day(moment: dt.datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host name is unknown; check the name and the network"
    # Several addresses of one name come as one error, whose text names them all.
    numbers = {error.errno} if error.errno else {int(found) for found in re.findall(r"\[Errno (\d+)\]", str(error))}
    if errno.ECONNREFUSED in numbers:
        return "the connection was refused; check that the relay is running and the port is right"
    if len(numbers) == 1:
        (number,) = numbers
        cause = error.strerror or errno.errorcode.get(number, "no reason given")
        return f"the connection failed ({one_line(cause.lower())})"
    return "there is no route to it; check the network"
