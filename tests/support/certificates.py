"""A certificate for 127.0.0.1, made on the spot."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """The two files, PEM."""

    cert: Path
    key: Path

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.cert))


def self_signed(folder: Path, *names: str, since: int = 0, until: int = 1) -> Certificate:
    """Write a new certificate and its key, good from ``since`` days from now, less an hour, until ``until`` days.

    Args:
        folder: for the two files.
        names: DNS names that it is for, instead of 127.0.0.1.
        since: days from now.
        until: days from now.
    """
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    now = dt.datetime.now(dt.UTC)
    found_names: list[x509.GeneralName] = [x509.DNSName(one) for one in names]
    found_names = found_names or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=since, hours=-1))
        .not_valid_after(now + dt.timedelta(days=until))
        .add_extension(x509.SubjectAlternativeName(found_names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(folder / "cert.pem", folder / "key.pem")
    found.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found
