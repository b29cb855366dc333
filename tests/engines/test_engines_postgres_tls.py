"""TLS to the database: with `sslmode=verify-full` a relay works with the server that it trusts, and with no other."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from phantom_messenger.engines.errors import StoreUnusable
from phantom_messenger.engines.postgres import PostgresStore
from support.certificates import Certificate, self_signed
from support.postgres_server import PostgresServer, programs
from support.relay_process import StartRelay, serve

VERIFY = "?sslmode=verify-full&sslrootcert="


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    made = PostgresServer()
    yield made
    made.end()


@pytest.fixture(scope="module")
def url(server: PostgresServer) -> str:
    return server.make_database()


def install(server: PostgresServer, certificate: Certificate | None) -> None:
    """Have the server show this certificate; none: no TLS."""
    owner = server.data.stat()
    for file, name in zip(certificate or (), ("server.crt", "server.key"), strict=False):
        shutil.copy(file, server.data / name)
        os.chown(server.data / name, owner.st_uid, owner.st_gid)
        (server.data / name).chmod(0o600)
    with (server.data / "postgresql.conf").open("a") as settings:
        settings.write(f"ssl = {'off' if certificate is None else 'on'}\n")
    server.stop()
    server.start()


def refusal(url: str) -> str:
    with pytest.raises(StoreUnusable) as found:
        PostgresStore(url)
    text = str(found.value)
    assert "\n" not in text
    return text


def test_relay_works_with_the_server_that_it_trusts_and_with_no_other(
    server: PostgresServer, url: str, tmp_path: Path, start_relay: StartRelay
) -> None:
    right, wrong = self_signed(tmp_path / "right"), self_signed(tmp_path / "wrong")
    install(server, right)
    assert start_relay("--store", f"{url}{VERIFY}{right.cert}").stop() == 0
    store = PostgresStore(f"{url}{VERIFY}{right.cert}")
    assert store._connection is not None
    assert store._connection.pgconn.ssl_in_use
    store.close()
    ended = serve("--store", f"{url}{VERIFY}{wrong.cert}")
    assert ended.returncode
    [said] = [line for line in ended.stderr.splitlines() if "database" in line]
    assert "is not to be trusted" in said
    assert "certificate verify failed" in said
    assert "sslrootcert must name the file of the authority" in said
    assert "is not to be trusted" in refusal(f"{url}{VERIFY}{tmp_path / 'nothing.pem'}"), "nor is the file left out"


def test_certificate_for_another_host_is_refused(server: PostgresServer, url: str, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "db.example.org")
    install(server, other)
    assert 'does not match host name "127.0.0.1"' in refusal(f"{url}{VERIFY}{other.cert}")


def test_server_without_tls_is_refused(server: PostgresServer, url: str, tmp_path: Path) -> None:
    install(server, None)
    assert "has no TLS, which sslmode in --store asks for" in refusal(f"{url}{VERIFY}{self_signed(tmp_path).cert}")
