"""What the end-to-end encryption costs, beside others that do the same job: one table.

    .venv/bin/python bench/crypto.py [--quick] [--json FILE]

It exits with 1 if somebody's result was wrong, never because something was slow.
"""

import json
import os
import platform
import sys
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from conversations import (
    ALICE,
    BOB,
    HELLO,
    Conversation,
    OlmConversation,
    OlmStrangers,
    OurConversation,
    OurStrangers,
    RatchetConversation,
    RatchetStrangers,
    refuses_changes,
)
from conversations_suite2 import Suite2Conversation, Suite2Strangers, with_kem_steps
from rounds import Contestant, Figure, Plan, Series, WrongResult, contest, pin, ratio

from phantom_messenger.crypto import padding

FULL: Final = Plan(rounds=9, batch_ms=120)
QUICK: Final = Plan(rounds=5, batch_ms=6)

SUITE_2: Final = "ours, suite 2"
SUITE_2_KEM: Final = "ours, suite 2 with KEM steps"

TEXT_BYTES: Final = 1_024
CONTENT_BYTES: Final = 1_000
HEAP_SESSIONS: Final = 200
"""Sessions that are held at once, so that the size of one is not lost in rounding."""

SETTLED: Final = 6
"""Messages each way after which a session has the size that it keeps: vodozemac remembers five chains."""

HANDSHAKE_GOAL_US: Final = 2_000.0
PAIR_GOAL_US: Final = 150.0
KEM_PAIR_GOAL_US: Final = 350.0
STATE_GOAL_BYTES: Final = 4_096.0
SUITE2_STATE_GOAL_BYTES: Final = 1_800.0
KEM_BYTES_GOAL: Final = 120.0
TURN: Final = 3
"""Messages in a row of each side, where the bytes of the KEM are counted."""
TURNS_MESSAGES: Final = 1_200

LIBRARIES: Final = ("cryptography", "PyNaCl", "msgspec", "vodozemac", "doubleratchet", "x3dh")

NOT_ALIKE: Final = (
    "vodozemac is Rust behind Python bindings: Olm's 3DH without a KEM, AES-256-CBC with an HMAC cut to 8 bytes. Ours "
    "and doubleratchet are Python around C and Rust primitives; doubleratchet uses AES-256-CBC with a whole HMAC.",
    "PQXDH does what the peers do and, on top, ML-KEM-768 and a second signature; nobody else here withstands a "
    "quantum computer. X3DH is ours with a peer that has left no KEM prekey.",
    '"ours" alone is suite 1. Suite 2 encrypts twice, the text under a key of its own and that key in the ratchet; '
    "with KEM steps two of three messages of a ping-pong carry an offer or its answer, which in a real conversation "
    "one in 25 does. Neither peer has anything like it.",
    "Ours and x3dh check a signature over the signed prekey. Olm has none inside: here Bob signs his one-time keys and "
    "Alice checks that, as Matrix clients do.",
    "x3dh gives a secret, not two sessions, and here has one one-time key, for it looks through all of them. Its "
    "functions and those of doubleratchet are async but wait for nothing: they run without an event loop, in their "
    "favour.",
    "Ours returns new states, vodozemac and doubleratchet change theirs; on receiving, all three work on a copy.",
    "Stored states: ours are in the clear, for the vault encrypts them; a pickle of vodozemac is encrypted and Base64, "
    "and keeps five receiving chains; doubleratchet writes JSON, without the handshake that is pending.",
    "Messages of ours and vodozemac pass as bytes; doubleratchet has no such form, so its header is counted as 40 "
    "bytes and its handshake as 128, and the coding costs it no time.",
    "Texts are as long as they say: the padding that a client of ours adds before is a row of its own and in no time.",
    "The heap is what Python has allocated; what Rust holds is unseen, so vodozemac has no such row.",
)


@dataclass(frozen=True)
class Row:
    """One line of the table; times are in microseconds, sizes in bytes.

    ``ratios``: how many times of this row one of ours takes, by its name.
    """

    group: str
    who: str
    unit: str
    figure: Figure
    samples: Sequence[float]
    ratios: dict[str, Figure] = field(default_factory=dict)
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, if there is one."""
        return None if self.goal is None else self.figure.middle <= self.goal


@dataclass(frozen=True)
class Group:
    """Contestants who do the same job, and the goals of some of them, by name."""

    title: str
    contestants: Sequence[Contestant]
    goals: Mapping[str, float]


# --- times ------------------------------------------------------------------------


def _works(_: object, talk: Conversation[Any, Any]) -> bool:
    return talk.works()


def _greeted(_: object, talk: Conversation[Any, Any]) -> bool:
    return talk.greeted()


def _same_secret(_: object, secrets: tuple[bytes, bytes]) -> bool:
    return secrets[0] == secrets[1]


def _same_text(text: bytes, read: bytes) -> bool:
    return text == read


def _texts(count: int) -> Sequence[bytes]:
    return [os.urandom(TEXT_BYTES) for _ in range(count)]


def _handshakes() -> Sequence[Group]:
    pq, classical, olm, ratchet = OurStrangers(kem=True), OurStrangers(kem=False), OlmStrangers(), RatchetStrangers()
    suite2 = Suite2Strangers()
    goals = {"ours, PQXDH": HANDSHAKE_GOAL_US, SUITE_2: HANDSHAKE_GOAL_US}
    return (
        Group(
            "handshake, both sides: from a bundle with one-time keys to two sessions",
            (
                Contestant("ours, PQXDH", pq.invitations, pq.shake, _works, ours=True),
                Contestant("ours, X3DH", classical.invitations, classical.shake, _works, ours=True),
                Contestant(SUITE_2, suite2.invitations, suite2.shake, _works, ours=True),
                Contestant("x3dh, the secret alone", ratchet.invitations, ratchet.agree, _same_secret),
            ),
            goals,
        ),
        Group(
            f"the same with a first message of {len(HELLO)} bytes, sent and read",
            (
                Contestant("ours, PQXDH", pq.invitations, pq.greet, _greeted, ours=True),
                Contestant("ours, X3DH", classical.invitations, classical.greet, _greeted, ours=True),
                Contestant(SUITE_2, suite2.invitations, suite2.greet, _greeted, ours=True),
                Contestant("vodozemac, Olm", olm.invitations, olm.greet, _greeted),
                Contestant("x3dh + doubleratchet", ratchet.invitations, ratchet.greet, _greeted),
            ),
            goals,
        ),
    )


def _our_conversation(*, kem: bool = True) -> OurConversation:
    strangers = OurStrangers(kem=kem)
    return strangers.greet(*strangers.invitations(1))


def _olm_conversation() -> OlmConversation:
    strangers = OlmStrangers()
    return strangers.greet(*strangers.invitations(1))


def _ratchet_conversation() -> RatchetConversation:
    strangers = RatchetStrangers()
    return strangers.greet(*strangers.invitations(1))


def _running() -> Sequence[tuple[str, Conversation[Any, Any], bool]]:
    """A conversation of each, after some messages both ways."""
    made: Sequence[tuple[str, Conversation[Any, Any], bool]] = (
        ("ours", _our_conversation(), True),
        (SUITE_2, Suite2Strangers().conversation(), True),
        (SUITE_2_KEM, with_kem_steps().conversation(), True),
        ("vodozemac, Olm", _olm_conversation(), False),
        ("doubleratchet", _ratchet_conversation(), False),
    )
    for who, talk, _ in made:
        if not (talk.greeted() and all(talk.works() for _ in range(SETTLED))):
            raise WrongResult(f"{who} cannot hold a conversation")
        talk.keep()
    return made


def _pairs() -> Sequence[Group]:
    ways: Sequence[tuple[str, Callable[[Conversation[Any, Any]], Callable[[bytes], bytes]]]] = (
        ("one direction in a row", lambda talk: talk.in_a_row),
        ("one direction in a row, both states loaded and dumped", lambda talk: talk.in_a_row_stored),
        ("ping-pong: a ratchet step each", lambda talk: talk.ping_pong),
        ("ping-pong, both states loaded and dumped", lambda talk: talk.ping_pong_stored),
    )
    return [
        Group(
            f"encrypt + decrypt of {TEXT_BYTES:,} bytes, {title}",
            [Contestant(who, _texts, way(talk), _same_text, ours=ours) for who, talk, ours in _running()],
            {"ours": PAIR_GOAL_US, SUITE_2: PAIR_GOAL_US, SUITE_2_KEM: KEM_PAIR_GOAL_US},
        )
        for title, way in ways
    ]


def _time_rows(group: Group, every: Sequence[Series]) -> Sequence[Row]:
    ours = [series for series in every if series.ours]
    return [
        Row(
            group.title,
            series.who,
            "us",
            Figure.of(series.samples),
            series.samples,
            {} if series.ours else {one.who: ratio(one, series) for one in ours},
            group.goals.get(series.who),
        )
        for series in every
    ]


# --- sizes ------------------------------------------------------------------------


def _size_row(group: str, who: str, size: float, goal: float | None = None) -> Row:
    return Row(group, who, "bytes", Figure.of([size]), [size], goal=goal)


def _states() -> Sequence[Row]:
    group = "stored state of a session, no skipped keys"
    strangers = OurStrangers(kem=True)
    fresh = strangers.shake(*strangers.invitations(1))
    (_, ours, _), (_, suite2, _), _, (_, olm, _), (_, ratchet, _) = _running()
    begun = Suite2Strangers()
    return [
        _size_row(group, "ours, fresh, its PQXDH handshake pending", len(fresh.dump(ALICE)), STATE_GOAL_BYTES),
        _size_row(group, "ours, running", len(ours.dump(ALICE)), STATE_GOAL_BYTES),
        _size_row(
            group,
            "ours, suite 2, fresh",
            len(begun.shake(*begun.invitations(1)).dump(ALICE)),
            SUITE2_STATE_GOAL_BYTES,
        ),
        _size_row(group, "ours, suite 2, running", len(suite2.dump(ALICE)), SUITE2_STATE_GOAL_BYTES),
        _size_row(group, "ours, suite 2, with an open offer", _turns(begun.conversation())[1], SUITE2_STATE_GOAL_BYTES),
        _size_row(group, "vodozemac, fresh", len(_olm_conversation().dump(ALICE))),
        _size_row(group, "vodozemac, running", len(olm.dump(ALICE))),
        _size_row(group, "doubleratchet, fresh", len(_ratchet_conversation().dump(ALICE))),
        _size_row(group, "doubleratchet, running", len(ratchet.dump(ALICE))),
    ]


def _turns(talk: Suite2Conversation) -> tuple[float, int]:
    """Bytes that the KEM takes of a message, and the largest state, if both take turns."""
    return talk.turns(TURN, TURNS_MESSAGES, bytes(TEXT_BYTES))


def _heap_of(load: Callable[[], object]) -> float:
    """Bytes that Python holds for one such object; what all of them share hardly counts."""
    kept = [load() for _ in range(2)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept += [load() for _ in range(HEAP_SESSIONS)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return round((after - before) / HEAP_SESSIONS)


def _loader(talk: Conversation[Any, Any], held: Callable[[], object]) -> Callable[[], object]:
    state = talk.dump(ALICE)

    def load() -> object:
        talk.load(ALICE, state)
        return held()

    return load


def _heaps() -> Sequence[Row]:
    group = "Python heap of a session in memory"
    strangers = OurStrangers(kem=True)
    fresh, running, ratchet = strangers.shake(*strangers.invitations(1)), _our_conversation(), _ratchet_conversation()
    for talk in (running, ratchet):
        talk.works()
    return [
        _size_row(
            group, "ours, fresh, its PQXDH handshake pending", _heap_of(_loader(fresh, lambda: fresh.sessions[ALICE]))
        ),
        _size_row(group, "ours, running", _heap_of(_loader(running, lambda: running.sessions[ALICE]))),
        _size_row(group, "doubleratchet, running", _heap_of(_loader(ratchet, lambda: ratchet.ratchets[ALICE]))),
    ]


def _overhead(talk: Conversation[Any, Any]) -> int:
    """How much longer than its text a message of a running conversation is, with small numbers."""
    text = os.urandom(TEXT_BYTES)
    message = talk.encrypt(ALICE, text)
    if talk.decrypt(BOB, message) != text:
        raise WrongResult("a message did not arrive")
    return talk.size(message) - TEXT_BYTES


def _overheads() -> Sequence[Row]:
    group = "bytes a message is longer than its text"
    pq, classical, olm, ratchet = (
        _our_conversation(kem=True),
        _our_conversation(kem=False),
        _olm_conversation(),
        _ratchet_conversation(),
    )
    suite2 = Suite2Strangers().conversation()
    # Nothing was answered yet, so these still bring the handshake.
    rows = [
        _size_row(group, "ours, until the first answer, PQXDH", _overhead(pq)),
        _size_row(group, "ours, until the first answer, X3DH", _overhead(classical)),
        _size_row(group, "ours, suite 2, until the first answer", _overhead(suite2)),
        _size_row(group, "vodozemac, until the first answer", _overhead(olm)),
        _size_row(group, "x3dh + doubleratchet, until the first answer", _overhead(ratchet) + 128),
    ]
    for talk in (pq, suite2, olm, ratchet):
        talk.works()
    return [
        *rows,
        _size_row(group, "ours, running", _overhead(pq)),
        _size_row(group, "ours, suite 2, running", _overhead(suite2)),
        _size_row(group, "ours, suite 2, of it KEM, turns of three", _turns(suite2)[0], KEM_BYTES_GOAL),
        _size_row(group, "vodozemac, running", _overhead(olm)),
        _size_row(group, "doubleratchet, running", _overhead(ratchet)),
        _size_row(
            group,
            f"ours, before that: padding of {CONTENT_BYTES:,} bytes",
            len(padding.pad(bytes(CONTENT_BYTES))) - CONTENT_BYTES,
        ),
    ]


# --- what is shown ----------------------------------------------------------------


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value:,.0f} B"
    return f"{value / 1e3:.2f} ms" if value >= 1e3 else f"{value:.1f} us"  # noqa: PLR2004 - a millisecond


def _range(row: Row) -> str:
    return "" if len(row.samples) < 2 else f"{_amount(row.figure.low, 'us')} - {_amount(row.figure.high, 'us')}"  # noqa: PLR2004


def _ratios(row: Row) -> str:
    return ", ".join(
        f"{who.removeprefix('ours').removeprefix(', ')} {found.middle:.2f} ({found.low:.2f}-{found.high:.2f})".strip()
        for who, found in row.ratios.items()
    )


def _verdict(row: Row) -> str:
    return "" if row.goal is None else f"<= {_amount(row.goal, row.unit)}: {'met' if row.met else 'MISSED'}"


def table(rows: Sequence[Row]) -> str:
    """The table: a heading for each group, a line for each row."""
    lines = [f"{'':46}{'median':>10}  {'range of the rounds':23}goal, or ours divided by it"]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines += ["", group]
        line = (
            f"  {row.who:44}{_amount(row.figure.middle, row.unit):>10}  {_range(row):23}{_verdict(row) or _ratios(row)}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def _as_json(rows: Sequence[Row], plan: Plan, checked: dict[str, int], *, quick: bool) -> dict[str, Any]:
    def figure(one: Figure) -> dict[str, float]:
        return {"median": one.middle, "low": one.low, "high": one.high}

    return {
        "quick": quick,
        "rounds": plan.rounds,
        "batch_ms": plan.batch_ms,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "checked": checked,
        "not_alike": NOT_ALIKE,
        "rows": [
            {
                "group": row.group,
                "who": row.who,
                "unit": row.unit,
                **figure(row.figure),
                "samples": row.samples,
                "ours_over_it": {who: figure(found) for who, found in row.ratios.items()},
                "goal": row.goal,
                "met": row.met,
            }
            for row in rows
        ],
    }


class Progress:
    """One line on stderr that is written over; nothing if nobody watches."""

    def __init__(self, of: int) -> None:
        self.of = of
        self.at = 0
        self.shown = sys.stderr.isatty()

    def step(self) -> None:
        """The next part begins."""
        self.at += 1

    def say(self, what: str) -> None:
        """Show what is being done."""
        if self.shown:
            sys.stderr.write(f"\r\033[K[{self.at}/{self.of}] {what}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self.shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def run(plan: Plan) -> tuple[list[Row], dict[str, int]]:
    """Measure everything; returns the rows and how many results of whom were checked.

    Raises:
        WrongResult: somebody got something wrong.
    """
    groups = [*_handshakes(), *_pairs()]
    progress = Progress(len(groups) + 1)
    rows: list[Row] = []
    checked: dict[str, int] = {}
    try:
        for talk in (_our_conversation(), Suite2Strangers().conversation()):
            if not refuses_changes(talk, os.urandom(TEXT_BYTES)):
                raise WrongResult("ours read a message that was changed")
        for group in groups:
            progress.step()
            every = contest(group.contestants, plan, progress.say)
            rows += _time_rows(group, every)
            for series in every:
                side = "ours" if series.ours else "peers"
                checked[side] = checked.get(side, 0) + series.checked
        progress.step()
        progress.say("sizes")
        rows += [*_states(), *_heaps(), *_overheads()]
    finally:
        progress.clear()
    return rows, checked


@click.command()
@click.option("--quick", is_flag=True, help="A few seconds: shows that it works; the figures are rough.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the data to a file too.")
def main(quick: bool, file: Path | None) -> None:
    """Time the end-to-end encryption against peers."""
    plan = QUICK if quick else FULL
    core = pin()
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    click.echo(f"End-to-end encryption, Python {platform.python_version()}, {versions}")
    click.echo(
        f"Processor time, {'one core' if core is not None else 'not pinned to a core'}, {plan.rounds} interleaved "
        f"rounds of {plan.batch_ms} ms each after a warm-up{'; quick, so rough' if quick else ''}\n"
    )
    try:
        rows, checked = run(plan)
    except WrongResult as wrong:
        raise click.ClickException(f"{wrong}; its times would mean nothing") from None
    click.echo(table(rows))
    click.echo(
        f"Checked: {checked['ours']:,} results of ours and {checked['peers']:,} of the peers, all right (texts came "
        "out as they went in,\nhandshakes led to sessions that work); ours refused every message that was changed.\n"
    )
    click.echo("Not like for like:")
    for sentence in NOT_ALIKE:
        click.echo(click.wrap_text(sentence, width=118, initial_indent="- ", subsequent_indent="  "))
    if file is not None:
        file.write_text(json.dumps(_as_json(rows, plan, checked, quick=quick), indent=1) + "\n")


if __name__ == "__main__":
    main()
