"""Groups, by the production code and by a second computation from ``protocol/groups.md`` alone."""

from typing import Final

import pytest
import vector_groups
from vector_reference2 import sha256
from vector_replay import Json, raw, vectors

from phantom_messenger.client import content2
from phantom_messenger.client.content import Ends
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import state as states
from phantom_messenger.client.groups.chain import Chain, Verdict
from phantom_messenger.client.groups.change import Change, RefusedChange
from phantom_messenger.client.groups.contents import KIND_OF, GroupJoin, GroupRefuse
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.state import GroupState
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.keys import OwnIdentity
from phantom_messenger.wire.base64_text import decode_base64
from support.cases import each

LISTED: Final = vectors("groups.json")
CHAINS: Final[list[Json]] = LISTED["chains"]
REFUSED: Final[list[Json]] = LISTED["refused"]
SEEDS: Final = {one["name"]: raw(one["seed"]) for one in LISTED["people"]}
START: Final = (raw(REFUSED[0]["state"]), raw(REFUSED[0]["digest"]))
"""The group to which all that is refused would belong."""


def told(chain: Chain, verdict: Verdict, code: str) -> Json:
    """What the vectors list of a judged change."""
    found: Json = {"verdict": verdict.value, "code": code}
    if verdict is Verdict.APPLIED:
        found |= {"state": chain.state.encode().hex(), "head": chain.head.hex()}
    return found


def played(case: Json) -> list[Json]:
    """What the production code makes of a chain."""
    chain, found = Chain(GroupState(group=raw(case["group"]))), []
    for step in case["steps"]:
        judged = chain.judge(raw(step["change"]))
        chain = judged.chain
        found.append(told(chain, judged.verdict, judged.code))
    return found


def computed(case: Json) -> list[Json]:
    """What the document makes of it."""
    group, found = vector_groups.Group(vector_groups.State(raw(case["group"]))), []
    for step in case["steps"]:
        verdict, code = group.judge(raw(step["change"]))
        one: Json = {"verdict": verdict, "code": code}
        if verdict == "applied":
            one |= {"state": group.state.encode().hex(), "head": group.head.hex()}
        found.append(one)
    return found


def expected(case: Json) -> list[Json]:
    return [step["expect"] for step in case["steps"]]


def code_of(case: Json) -> str:
    """Why the production code refuses a change."""
    judged = Chain(GroupState.decode(START[0]), START[1]).judge(raw(case["change"]))
    return judged.code if judged.verdict is Verdict.SKIPPED else judged.verdict.value


def red() -> set[str]:
    """Names of the refusals that get another answer."""
    return {case["name"] for case in REFUSED if code_of(case) != case["expect"]["code"]}


def red_chains() -> set[str]:
    """Names of the chains that come out otherwise."""
    return {case["name"] for case in CHAINS if played(case) != expected(case)}


def test_there_are_enough_of_them() -> None:
    assert len(CHAINS) >= 20
    assert len(REFUSED) >= 20
    codes = {step["expect"]["code"] for case in CHAINS for step in case["steps"]}
    assert codes | {case["expect"]["code"] for case in REFUSED} == {
        *("", "size", "form", "key", "signature", "group", "closed", "revision", "author", "ops", "bounds", "previous")
    }
    verdicts = {step["expect"]["verdict"] for case in CHAINS for step in case["steps"]}
    assert verdicts == {verdict.value for verdict in Verdict} - {"stale"}


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case["name"])
def test_chain(case: Json) -> None:
    assert played(case) == expected(case)


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case["name"])
def test_chain_is_computed_from_the_document_alone(case: Json) -> None:
    assert computed(case) == expected(case)


@pytest.mark.parametrize("case", CHAINS, ids=lambda case: case["name"])
def test_changes_are_written_as_listed(case: Json) -> None:
    for step in case["steps"]:
        if "author" not in step:
            continue
        found = changes.read(raw(step["change"]))
        assert found.encoded == rewritten(found, SEEDS[step["author"]])
        assert found.encoded[:-64] == vector_groups.rewritten(found.encoded)


def rewritten(found: Change, seed: bytes) -> bytes:
    """The change made once more by who has made it."""
    return changes.write(
        OwnIdentity(seed),
        group=found.group,
        revision=found.revision,
        previous=found.previous,
        at=found.at,
        ops=found.ops or (),
    ).encoded


@each("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused(case: Json) -> None:
    assert code_of(case) == case["expect"]["code"]


@each("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused_by_the_document_alone(case: Json) -> None:
    group = vector_groups.Group(vector_groups.read_state(START[0]), START[1])
    assert group.judge(raw(case["change"])) == ("skipped", case["expect"]["code"])


@pytest.mark.parametrize("case", LISTED["states"], ids=lambda case: case["name"])
def test_state(case: Json) -> None:
    encoded = raw(case["state"])
    if case["expect"]["is_state"]:
        assert GroupState.decode(encoded).encode() == vector_groups.read_state(encoded).encode() == encoded
        return
    with pytest.raises(InvalidMessage):
        GroupState.decode(encoded)
    with pytest.raises(vector_groups.Refused):
        vector_groups.read_state(encoded)


@pytest.mark.parametrize("case", LISTED["invitations"], ids=lambda case: case["name"])
def test_invitation(case: Json) -> None:
    given = raw(case["state"]), raw(case["base"]), raw(case["change"])
    if case["expect"]["head"] is not None:
        assert Chain.joined(*given).head.hex() == vector_groups.join(*given).hex() == case["expect"]["head"]
        return
    with pytest.raises(InvalidMessage):
        Chain.joined(*given)
    with pytest.raises(vector_groups.Refused):
        vector_groups.join(*given)


def test_named_heads() -> None:
    case = LISTED["heads"][0]
    chain = Chain(GroupState(group=raw(case["group"])))
    group = vector_groups.Group(vector_groups.State(raw(case["group"])))
    for step in case["steps"]:
        chain = chain.judge(raw(step["change"])).chain
        group.judge(raw(step["change"]))
    for named in case["named"]:
        assert chain.compare(named["revision"], raw(named["head"])).value == named["expect"], named["name"]
        assert group.compare(named["revision"], raw(named["head"])) == named["expect"], named["name"]


def test_names_and_digits() -> None:
    case = LISTED["names"][0]
    group, head, expect = raw(case["group"]), raw(case["head"]), case["expect"]
    assert states.conversation_of(group).hex() == expect["conversation"]
    assert states.order_of(group).hex() == expect["order"]
    assert sha256(b"phantom/1 group conversation\n" + group).hex() == expect["conversation"]
    assert sha256(b"phantom/1 order\n" + group).hex() == expect["order"]
    assert states.digits_of(head) == vector_groups.digits(head) == expect["digits"]


@pytest.mark.parametrize("case", LISTED["links"], ids=lambda case: case["name"])
def test_link(case: Json) -> None:
    assert vector_groups.read_link(case["link"]) == case["expect"]
    if case["expect"] is None:
        with pytest.raises(UsageError):
            JoinLink.parse(case["link"])
        return
    found = JoinLink.parse(case["link"])
    admin = (decode_base64(found.admin) or b"").hex()
    assert {"admin": admin, "relay": found.relay, "token": found.token.hex()} == case["expect"]
    assert found.text == case["link"]


@pytest.mark.parametrize("case", LISTED["asked"], ids=lambda case: case["name"])
def test_what_is_said_of_links(case: Json) -> None:
    content, (ben,) = raw(case["content"]), [one for one in LISTED["people"] if one["name"] == "ben"]
    assert vector_groups.read_asked(content) == case["expect"]
    ends = Ends(raw(ben["id"]), raw(ben["key"]), b"", b"")
    if case["expect"] is None:
        with pytest.raises(InvalidMessage):
            content2.decode(content, ends)
        return
    said = content2.decode(content, ends)
    assert isinstance(said, GroupJoin | GroupRefuse)
    assert {"kind": KIND_OF[type(said)], "token": said.token.hex()} == case["expect"]
    again = content2.encode_for_group(said, sender=ends.sender, sender_key=ends.sender_key)
    assert vector_groups.read_asked(again) == case["expect"]


# --- controls: the code is another one --------------------------------------------


def test_control_signatures_that_are_not_checked_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert red() == set()
    monkeypatch.setattr("phantom_messenger.crypto.primitives.ed25519_verify", lambda *_: None)
    assert red() == {"other-signature", "other-label", "flipped", "large-s"}


def test_control_other_bounds_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    assert red_chains() == set()
    monkeypatch.setattr(states, "MAX_MEMBERS", 101)
    assert red_chains() == {"full"}
    monkeypatch.setattr(states, "MAX_ADMINS", 17)
    assert red_chains() == {"full", "admins"}
    monkeypatch.setattr(states, "MAX_AHEAD", 10_000)
    assert red_chains() == {"full", "admins", "skipped", "old-head"}


def test_control_rules_that_are_not_asked_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_check_clear", lambda _: None)
    assert red() == {"in-and-out", "two-names", "two-pictures", "two-closes"}
    monkeypatch.setattr(states, "_fits", lambda _: True)
    assert red() == {"in-and-out", "two-names", "two-pictures", "two-closes", "no-admin"}


def test_control_authors_that_are_not_asked_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupState, "_check_may", lambda *_: None)
    assert {"member-may-not", "outsider-may-not", "demoted", "leaves"} <= red_chains()


def test_control_rivals_that_are_not_tried_go_red(monkeypatch: pytest.MonkeyPatch) -> None:
    def believed(*_: object) -> GroupState:
        raise RefusedChange("newer")

    monkeypatch.setattr(GroupState, "after", believed)
    assert {"no-fork"} <= red_chains()


def test_control_heads_without_the_state_let_a_newcomer_be_lied_to(monkeypatch: pytest.MonkeyPatch) -> None:
    lied = next(case for case in LISTED["invitations"] if case["name"] == "other-state")
    given = raw(lied["state"]), raw(lied["base"]), raw(lied["change"])
    change = changes.read(given[2])
    monkeypatch.setattr("phantom_messenger.client.groups.chain.head_of", lambda *_: change.previous)
    assert Chain.joined(*given).state.name == "Two"
