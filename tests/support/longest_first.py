"""Where tests that take long stand in a run of several processes: first, so that at its end no process works alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

OF_THE_PAGE: Final = (
    "web/test_web_journeys.py",
    "web/test_web_screens.py",
    "web/test_web_core.py",
    "web/test_web_firefox.py",
    "web/test_web_interop.py",
    "web/test_web_evil.py",
)
OTHERS: Final = (
    "e2e/test_e2e_devices.py",
    "e2e/test_e2e_groups.py",
    "e2e/test_e2e_group_invitations.py",
    "hostile/test_h03_slow_readers.py",
    "engines/test_engines_postgres_erasure.py",
    "e2e/test_e2e_refusing.py",
    "delivery/test_d11_several_relays.py",
    "hostile/test_h04_half_open.py",
    "client/test_client_conversation_front.py",
    "hostile/test_h01_autobahn.py",
    "engines/test_store_copy_refusals.py",
    "e2e/test_e2e_command_line.py",
    "client/test_client_connection.py",
    "e2e/test_e2e_terminal.py",
    "hostile/test_overload.py",
    "relay/test_relay_several_outside.py",
    "contract/test_contract_prekeys.py",
    "hostile/test_h08_floods.py",
    "bench/test_bench_measure.py",
    "hostile/test_h02_frames.py",
    "client/test_client_facade.py",
    "contract/test_contract_messages.py",
    "delivery/test_d04_every_byte.py",
    "delivery/test_d09_stop_under_load.py",
    "engines/test_engines_postgres_refusals.py",
    "delivery/test_vault_crashes.py",
    "delivery/test_group_kill.py",
    "e2e/test_e2e_chat.py",
    "delivery/test_d05_push_and_backlog.py",
    "client/test_client_faults.py",
    "e2e/test_e2e_two_people.py",
    "bench/test_bench_several.py",
    "engines/test_store_copy.py",
    "contract/test_contract_many.py",
    "conformance/test_conformance_command.py",
    "relay/test_relay_web_transfer.py",
    "delivery/test_d07_gone_from_files.py",
    "conformance/test_conformance_controls.py",
    "delivery/test_d06_full_database.py",
    "client/test_client_vault_damage.py",
    "bench/test_bench_load.py",
    "client/test_client_outages.py",
    "contract/test_contract_accounts.py",
    "conformance/test_conformance_many_controls.py",
    "relay/test_relay_absent.py",
)
"""They wait for most of their time: in all of them together a core is busy for a sixth of it."""

LONGEST: Final = (*OF_THE_PAGE, *OTHERS)
"""Files with tests that take ten seconds and more, or wait for most of their time: the longest first."""


def waiting(processes: int) -> int:
    """How many of so many processes begin with what waits, so that the others keep the cores busy meanwhile."""
    return min(processes, max(2, (processes + 1) // 2))


def dealt(items: Sequence[T], file_of: Callable[[T], str], processes: int) -> list[T]:
    """The same tests, in the order in which so many processes begin with what takes longest.

    Args:
        items: the tests, as they were collected.
        file_of: the file of a test, relative to the folder of all tests.
        processes: how many there are; pytest-xdist (``--dist worksteal``) gives each an equal part of the whole to
            begin with, the first to the first. A file stays in one part.
    """
    parts: list[list[T]] = [[] for _ in range(processes)]
    files = {file_of(item) for item in items}
    for longest, count in ((OF_THE_PAGE, processes), (OTHERS, waiting(processes))):
        there = [file for file in longest if file in files]
        for place, file in zip(_there_and_back(count), there, strict=False):
            parts[place] += [item for item in items if file_of(item) == file]
    rest = [item for item in items if file_of(item) not in LONGEST]
    found: list[T] = []
    for number, part in enumerate(parts):
        share = (len(items) - len(found)) // (processes - number)
        more = max(share - len(part), 0)
        found += [*part, *rest[:more]]
        del rest[:more]
    return [*found, *rest]


def _there_and_back(count: int) -> Iterable[int]:
    """0, 1, 2, 2, 1, 0, 0, 1, 2 ..."""
    while True:
        yield from range(count)
        yield from reversed(range(count))
