"""The certificate of a relay that speaks TLS itself."""

import importlib
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phantom_messenger.events import Event, log
from phantom_messenger.relay.config import Config, ConfigError


def context(config: Config) -> ssl.SSLContext | None:
    """Read certificate and key; a certificate whose time is not now is told in the log.

    Returns:
        How sockets are encrypted, or None if there is no certificate in the settings.

    Raises:
        ConfigError: certificate and key cannot be used.
    """
    if config.tls_cert is None:
        return None
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A password would be asked for on the terminal, and the relay would stand still.
        found.load_cert_chain(config.tls_cert, config.tls_key, password="")
        if not _is_valid(config.tls_cert, datetime.now(UTC)):
            log(Event.CERTIFICATE_EXPIRED)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--tls-cert {config.tls_cert} and --tls-key cannot be used: {_reason(error)}") from None
    return found


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    if isinstance(error, ssl.SSLError | ValueError):
        return "give PEM files, the certificate first, and a key without a passphrase"
    return getattr(error, "strerror", None) or str(error)


def _is_valid(file: Path, now: datetime) -> bool:
    # Imported by those who need it: it is a dozen megabytes.
    x509: Any = importlib.import_module("cryptography.x509")
    leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
    return bool(leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc)
