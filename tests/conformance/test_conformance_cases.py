"""Each case stands on words of the protocol, and together they judge all of it and of the API reference."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest
from protocol_tables import expected

from phantom_messenger.conformance import script, shapes
from phantom_messenger.conformance.cases import CASES
from phantom_messenger.conformance.verdict import Case
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import MEANINGS, CloseCode

ROOT: Final = Path(__file__).parents[2]
PROTOCOL: Final = (ROOT / "protocol/phantom.md").read_text()
PACKAGE: Final = ROOT / "src/phantom_messenger/conformance"


def sections(document: str) -> dict[str, str]:
    """The text under each heading, on one line."""
    parts = re.split(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", document, flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE
    )
    return {heading: " ".join(text.split()) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def without_words(cases: Iterable[Case], document: str) -> list[str]:
    """The cases whose rule does not stand in their section."""
    found = sections(document)
    return [case.full_name for case in cases if " ".join(case.rule.split()) not in found.get(case.section, "")]


def test_each_rule_stands_in_its_section() -> None:
    assert without_words(CASES, PROTOCOL) == []


def test_control_rule_that_was_reworded_is_noticed() -> None:
    reworded = PROTOCOL.replace("On one connection nothing is sent twice.", "Nothing is sent twice.")
    assert without_words(CASES, reworded) == ["mailbox/nothing-is-sent-twice-on-one-connection"]


def test_dialogues_are_those_of_the_protocol() -> None:
    assert script.PATH.read_text() == script.blocks(PROTOCOL), "copy them with: python scripts/copy-dialogues"
    shown = set(re.findall(r"^```dialogue (.+)$", PROTOCOL, re.MULTILINE))
    assert {case.name for case in CASES if case.group == "dialogues"} == shown


def test_names_are_unique() -> None:
    names = [case.full_name for case in CASES]
    assert len(set(names)) == len(names)
    assert len(names) >= 300


# --- everything is judged ---------------------------------------------------------

HEADINGS: Final = {
    "Endpoint",
    "Connection Flow",
    "Message Envelope",
    "AUTH Request",
    "AUTH_SUCCESS Response",
    "AUTH_FAILURE Response",
    "KEY_EXCHANGE_INIT",
    "KEY_EXCHANGE_RESPONSE",
    "MESSAGE",
    "MESSAGE_ACK",
    "PRESENCE",
    "Error Handling",
    "PING/PONG",
    "Rate Limits",
    "Message Size Limits",
    "Connection Limits",
    "WebSocket Close Codes",
    "Example Flow",
    "Security Considerations",
}
"""What the API reference tells of a relay, by its headings."""

OF_BOTH: Final = {"Authentication", "Key Exchange"}
"""Headings that stand above others of these."""


def test_everything_in_the_reference_is_judged() -> None:
    judged = {case.reference for case in CASES} - {""}
    assert judged - OF_BOTH == HEADINGS


NOT_FROM_OUTSIDE: Final = {"quota", "overload", "storage", "internal"}
"""Reasons that take 256 MB, more load than a relay carries, a full disk, or a bug."""


def constants(kind: type) -> set[object]:
    """Every constant of this type that stands in the cases, or in what they are written in."""
    trees = [ast.parse(path.read_text()) for path in (*(PACKAGE / "cases").glob("*.py"), PACKAGE / "client.py")]
    found = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {value for value in found if type(value) is kind}


def test_every_reason_is_provoked() -> None:
    assert set(MEANINGS) - constants(str) == NOT_FROM_OUTSIDE


def test_every_close_code_is_provoked() -> None:
    assert set(CloseCode) - constants(int) == {CloseCode.SERVER_ERROR}, "which takes a relay that fails"


def test_every_frame_of_a_client_is_sent() -> None:
    assert set(frames.CLIENT_FRAMES) - constants(str) == set()


# --- the tables of the kit are those of the protocol --------------------------------


def test_the_kit_and_the_protocol_know_the_same_reasons() -> None:
    of_protocol = {str(reason): (int(code), text.replace("\\n", "\n")) for reason, (code, text) in MEANINGS.items()}
    of_kit = {reason: (code, text.replace("\\n", "\n")) for reason, (code, text) in shapes.REASONS.items()}
    assert of_kit == of_protocol


@pytest.mark.parametrize("kind", sorted(frames.RELAY_FRAMES))
def test_the_kit_and_the_protocol_know_the_same_members(kind: str) -> None:
    table = expected().get(kind)
    rows = [] if table is None else [row for row in table.rows if row[3] in {"must", "may"}]
    of_protocol = {row[0]: row[3] == "must" for row in rows}
    of_kit = {name: is_needed for name, (is_needed, _) in shapes.PAYLOADS[kind].items()}
    if "details" in of_kit:  # the protocol says of it that it is always there
        of_protocol["details"] = True
    assert of_kit == of_protocol
