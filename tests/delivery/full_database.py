"""What happens when the disk of a database is really full; run by ``test_d06_full_database.py`` as a program.

    python full_database.py FOLDER

FOLDER is the mount point of a tmpfs; nothing but the tables is on it. What is found wrong is raised.
"""

import os
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from support.people import Frame, Person
from support.postgres_server import PostgresServer
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess
from support.waiting import eventually

STORAGE: Final = 1007
UNAVAILABLE: Final = 503
FIRST: Final = 50
MOST: Final = 2_000
TEXT: Final = "A" * 4_000
REMOVED: Final = 20


class Disk:
    """The tmpfs, and the file of somebody else that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4_096))

    def release(self) -> None:
        self._filler.unlink()


class Writer:
    """Alice, who keeps what was accepted."""

    def __init__(self, line: ReferenceClient, to: Person) -> None:
        self.line = line
        self.accepted: list[str] = []
        self._to = to

    def write(self) -> Frame:
        """Send a message; what is answered."""
        frame = self.line.person.message(self._to, encrypted=TEXT, id="m")
        self.line.send(frame)
        while (answer := self.line.receive()).get("id") != "m":
            pass
        if answer["type"] == "MESSAGE_ACK":
            self.accepted.append(frame["payload"]["messageId"])
        return answer

    def is_accepted(self) -> bool:
        return bool(self.write()["type"] == "MESSAGE_ACK")


def is_ready(relay: RelayProcess) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.port}/ready", timeout=60) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        return refused.code != UNAVAILABLE


def read(line: ReferenceClient, count: int) -> list[Frame]:
    """The messages of a mailbox, of which so many wait."""
    found: list[Frame] = []
    while len(found) < count:
        frame = line.receive()
        if frame["type"] == "MESSAGE":
            found.append(frame)
    assert [frame for frame in line.settle() if frame["type"] == "MESSAGE"] == []
    return found


def names(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["messageId"] for frame in frames]


def database_on(disk: Disk, server: PostgresServer) -> str:
    """A database whose tables are on the small disk, and nothing else; its URL."""
    tables = disk.folder / "tables"
    tables.mkdir()
    owner = server.data.stat()
    os.chown(tables, owner.st_uid, owner.st_gid)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(tables))))
        connection.execute("CREATE DATABASE phantom TABLESPACE small")
    return server.url("phantom")


def play(disk: Disk, relay: RelayProcess) -> None:
    """Fill the disk while people write, and make room again."""
    alice, bob = Person(), Person()
    with ExitStack() as stack:
        reader = stack.enter_context(closing(ReferenceClient(relay.url, bob).login(["ack"])))
        writer = Writer(stack.enter_context(closing(ReferenceClient(relay.url, alice).login(["ack"]))), bob)
        reader.send(bob.message(alice))
        reader.settle()
        assert all(writer.is_accepted() for _ in range(FIRST))
        disk.fill()
        while (answer := writer.write())["type"] == "MESSAGE_ACK":
            assert len(writer.accepted) < MOST, "the disk never was full"
        assert answer["payload"]["code"] == STORAGE, answer
        assert answer["payload"]["retryAfter"], answer
        assert not is_ready(relay)
        came = read(reader, len(writer.accepted))
        assert names(came) == writer.accepted, "what was accepted is read, and nothing else"
        for frame in came[:REMOVED]:
            reader.send(bob.ack(frame))
        refused = [frame for frame in reader.settle() if frame["type"] == "ERROR"]
        assert refused == [], "what only removes is done"
        disk.release()
        assert eventually(writer.is_accepted), "it goes on by itself"
        assert eventually(lambda: is_ready(relay))
    with closing(ReferenceClient(relay.url, bob).login(["ack"])) as again:
        assert names(read(again, len(writer.accepted) - REMOVED)) == writer.accepted[REMOVED:]


def main() -> None:
    server = PostgresServer()
    try:
        disk = Disk(Path(sys.argv[1]))
        disk.folder.chmod(0o755)
        with tempfile.TemporaryDirectory() as folder:
            relay = RelayProcess(Path(folder), "--limits", "off", "--store", database_on(disk, server))
            try:
                play(disk, relay)
            except BaseException:
                sys.stderr.write(relay.log)
                raise
            finally:
                relay.stop()
    finally:
        server.end()


if __name__ == "__main__":
    main()
