"""The certificate of a relay that speaks TLS itself."""

import importlib
import ssl
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from phantom_messenger.events import Event, log
from phantom_messenger.relay.config import Config, ConfigError


class Fault(StrEnum):
    """Why certificate and key cannot be used; the log names it."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    KEY_MISMATCH = "key-mismatch"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"


_ADVICE: Final = {
    Fault.MALFORMED: "give PEM files, the certificate first, and a key without a passphrase",
    Fault.KEY_MISMATCH: "the key does not belong to the certificate",
    Fault.EXPIRED: "the certificate has expired",
    Fault.NOT_YET_VALID: "the certificate is not valid yet",
}


class CertificateError(ConfigError):
    """Certificate and key cannot be used.

    Args:
        config: names them.
        fault: what is wrong.
        detail: what the system says, if ``fault`` does not say it all.
    """

    def __init__(self, config: Config, fault: Fault, detail: str = "") -> None:
        super().__init__(f"--tls-cert {config.tls_cert} and --tls-key cannot be used: {_ADVICE.get(fault, detail)}")
        self.fault = fault


def context(config: Config) -> ssl.SSLContext | None:
    """Read certificate and key at the start; one that is out of date is logged, and used all the same.

    Returns:
        How sockets are encrypted, or None if the settings name no certificate.

    Raises:
        CertificateError: certificate and key cannot be used.
    """
    if config.tls_cert is None:
        return None
    found = _loaded(config)
    if _validity(config, config.tls_cert) is not None:
        log(Event.CERTIFICATE_EXPIRED)
    return found


def renewed(config: Config) -> ssl.SSLContext:
    """Read certificate and key again; one that is out of date must not take the place of one that is in use.

    Raises:
        CertificateError: certificate and key cannot be used.
    """
    found = _loaded(config)
    if config.tls_cert is not None and (fault := _validity(config, config.tls_cert)) is not None:
        raise CertificateError(config, fault)
    return found


def _loaded(config: Config) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # OpenSSL would ask for a passphrase on the terminal, and the relay would stand still.
        found.load_cert_chain(str(config.tls_cert), config.tls_key, password="")
    except (OSError, ValueError) as error:
        raise _translated(config, error) from None
    return found


def _translated(config: Config, error: OSError | ValueError) -> CertificateError:
    match error:
        case ssl.SSLError(reason="KEY_VALUES_MISMATCH"):
            return CertificateError(config, Fault.KEY_MISMATCH)
        case ssl.SSLError() | ValueError():
            return CertificateError(config, Fault.MALFORMED)
        case FileNotFoundError():
            return CertificateError(config, Fault.MISSING, error.strerror or "not found")
        case _:
            return CertificateError(config, Fault.UNREADABLE, error.strerror or str(error))


def _validity(config: Config, file: Path) -> Fault | None:
    """Whether the certificate is out of date."""
    # Imported by those who need it: it is a dozen megabytes.
    x509: Any = importlib.import_module("cryptography.x509")
    try:
        leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (OSError, ValueError) as error:
        raise _translated(config, error) from None
    now = datetime.now(UTC)
    if now < leaf.not_valid_before_utc:
        return Fault.NOT_YET_VALID
    return Fault.EXPIRED if now > leaf.not_valid_after_utc else None
