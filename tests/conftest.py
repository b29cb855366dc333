"""Fixtures: relays, simulated and real, and clients; all end with the test that asked for them."""

import gc
import logging
import os
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from client_samples import Town, fast_folder
from hypothesis import HealthCheck, settings

from phantom_messenger.client import prekey_store
from phantom_messenger.client.groups import state as group_state
from phantom_messenger.engines.postgres import PostgresStore
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay import prekey_status
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.ports import Store
from support.collecting import import_ahead, modules, turned
from support.faults import Faults
from support.letter import Letter, MakeLetter
from support.longest_first import dealt
from support.passphrases import LEAST, REAL, stretch
from support.people import Person
from support.postgres_server import PostgresServer, programs
from support.reference_client import Connect, ReferenceClient
from support.relay_process import RelayProcess, StartRelay
from support.simulated import MakeWorld, World
from support.store_user import StoreUser

# Whoever is started in the background of a shell ignores SIGINT, and so would every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Some tests have a thousand sockets, and shells allow so many files in all.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

# How long an example takes says how busy the machine is, and nothing about the product.
settings.register_profile("any pace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any pace")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Share with the other processes what is costly in a fresh clone, and look for garbage among nothing that stays."""
    gc.disable()
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        config, processes = session.config, int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        files = list(modules(config.args, config.getoption("ignore") or [], config.invocation_params.dir))
        import_ahead(turned(files, int(worker.removeprefix("gw")), processes))


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among what is there by now, and less often: that takes a twentieth of all.

    Whoever tests what becomes of garbage calls ``gc.collect``.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest in each of several processes."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        here = Path(__file__).parent
        items[:] = dealt(items, lambda item: item.path.relative_to(here).as_posix(), processes)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line a reason what was skipped."""
    reports = [report for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")


@pytest.fixture(scope="session", autouse=True)
def _quick_passphrases() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        stretch(LEAST, patch.setattr)
        yield


@pytest.fixture
def real_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passphrases as the product does."""
    stretch(REAL, monkeypatch.setattr)


@pytest.fixture(autouse=True)
def faults() -> Iterator[Faults]:
    """Bugs that the relay reports of itself; a test that brings them about has to take them."""
    made, logger = Faults(), logging.getLogger("phantom.relay")
    logger.addHandler(made)
    yield made
    logger.removeHandler(made)
    assert made.take() == [], "the relay has reported a bug of its own"


@pytest.fixture
def world() -> Iterator[World]:
    """A simulated relay without limits."""
    made = World()
    yield made
    made.close()


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Makes a simulated relay with the given settings; the default ones if there are none."""
    with ExitStack() as stack:

        def make(**settings: Any) -> World:
            made = World(Config(**settings))
            stack.callback(made.close)
            return made

        yield make


FEW_PREKEYS = (
    (prekey_store, "ONE_TIME_TARGET", 12),
    (prekey_store, "REFILL_BELOW", 4),
    (prekey_store, "KEM_TARGET", 6),
    (prekey_store, "KEM_REFILL_BELOW", 2),
    (prekey_status, "LOW_PREKEYS", 3),
)
SHIPPED_PREKEYS = tuple((module, name, getattr(module, name)) for module, name, _ in FEW_PREKEYS)


@pytest.fixture
def few_prekeys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients keep few prekeys at the relay: to make, sign and store over a hundred is most of a short test."""
    for module, name, count in FEW_PREKEYS:
        monkeypatch.setattr(module, name, count)


@pytest.fixture
def shipped_prekeys(few_prekeys: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it comes first
    """Let clients keep as many as the product does, for what is about their number."""
    for module, name, count in SHIPPED_PREKEYS:
        monkeypatch.setattr(module, name, count)


@pytest.fixture
def quick_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let groups show digits at once: to hash a hundred thousand times is most of a short test."""
    monkeypatch.setattr(group_state, "DIGIT_ROUNDS", 10)


@pytest.fixture
def town(few_prekeys: None, quick_digits: None, world: World, tmp_path: Path) -> Iterator[Town]:  # noqa: ARG001 - are in force
    """Devices at a simulated relay without limits."""
    with fast_folder(tmp_path) as folder:
        made = Town(world, folder)
        yield made
        made.close()


@pytest.fixture
def limited(few_prekeys: None, make_world: MakeWorld, tmp_path: Path) -> Iterator[Town]:  # noqa: ARG001 - is in force
    """As ``town``, at a relay with the limits that it has if nothing is said: 60 messages a minute."""
    with fast_folder(tmp_path) as folder:
        made = Town(make_world(), folder)
        yield made
        made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, shared: use databases of your own."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    server = PostgresServer()
    yield server
    server.end()


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    """The name of a database with the tables of a store, to be copied."""
    url = postgres.make_database()
    PostgresStore(url).close()
    return url.rpartition("/")[2]


SQLITE = ("memory", "folder")
ENGINES = (*SQLITE, "postgres")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is written in terms of commands alone is run on every engine; other tests look inside SQLite's."""
    if "store" in metafunc.fixturenames:
        of_all = metafunc.definition.path.parent.name == "contract"
        metafunc.parametrize("store", ENGINES if of_all else SQLITE, indirect=True)


@pytest.fixture
def mailbox_bytes() -> int | None:
    """The size of each mailbox of ``store``; tests for which it is limited have a fixture of their own."""
    return None


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, mailbox_bytes: int | None) -> Iterator[Store]:
    """An engine that the relay can run on, empty; each in turn."""
    made: Store
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.make_database(request.getfixturevalue("template"))
        made = PostgresStore(url, mailbox_bytes=mailbox_bytes)
        yield made
        made.close()
        server.drop_database(url)
    else:
        made = SQLiteStore(None if request.param == "memory" else tmp_path / "data", mailbox_bytes=mailbox_bytes)
        yield made
        made.close()


@pytest.fixture
def alice(store: Store) -> StoreUser:
    return StoreUser(store, "alice")


@pytest.fixture
def bob(store: Store) -> StoreUser:
    return StoreUser(store, "bob")


@pytest.fixture
def carol(store: Store) -> StoreUser:
    return StoreUser(store, "carol")


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A real relay without limits, shared: use people of your own."""
    process = RelayProcess(tmp_path_factory.mktemp("relay"), "--limits", "off")
    yield process
    process.stop()


@pytest.fixture
def start_relay(tmp_path: Path) -> Iterator[StartRelay]:
    """Starts a real relay with the given arguments."""
    with ExitStack() as stack:
        count = 0

        def start(*arguments: str, **options: Any) -> RelayProcess:
            nonlocal count
            count += 1
            folder = tmp_path / f"relay-{count}"
            folder.mkdir()
            process = RelayProcess(folder, *arguments, **options)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections to a real relay."""
    with ExitStack() as stack:

        def open_one(relay: RelayProcess, person: Person | None = None, **options: Any) -> ReferenceClient:
            return stack.enter_context(ReferenceClient(relay.url, person, **options))

        yield open_one


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A real relay that takes reference clients, without limits."""
    process = RelayProcess(tmp_path_factory.mktemp("lenient"), "--limits", "off", "--reference-clients", "on")
    yield process
    process.stop()


@pytest.fixture
def letter(lenient: RelayProcess) -> Iterator[MakeLetter]:
    """Makes people whose clients know the reference alone; logged in, unless told otherwise."""
    with ExitStack() as stack:

        def make(*, relay: RelayProcess = lenient, login: bool = True, **arguments: Any) -> Letter:
            made = Letter(relay, **arguments)
            stack.enter_context(made.wire)
            return made.login() if login else made

        yield make
