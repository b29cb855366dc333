"""A second client for ``group-clients.json``: ``protocol/encryption.md`` and ``protocol/groups.md``, nothing of ours.

It gets what is listed for one client, and nothing else: it agrees on sessions, reads every message, makes anew every
head and body that the client sends, judges all changes, and so comes to know the group and what was said in it.
"""

import base64
import json
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import vector_groups
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from vector_content2 import Reader, write
from vector_groups import NOTHING, ROLES, Group, Refused, State, read_state
from vector_reference import ed25519_public, x25519_public
from vector_reference2 import (
    Bundle,
    Owner,
    Rejected,
    body_keys,
    initiate,
    kem_public,
    open_body,
    parse,
    sha256,
    unpad,
    verify,
)
from vector_sessions2 import Named, Sessions

Json = dict[str, Any]
NAMES: Final = {number: name for name, number in ROLES.items()}
OUT_OF_IT: Final = {"left", "removed", "closed"}


def raw(text: str) -> bytes:
    """Base64."""
    return base64.b64decode(text)


def text(data: bytes) -> str:
    """As frames write it."""
    return base64.b64encode(data).decode()


def decoded(content: bytes) -> Json:
    """A content."""
    reader = Reader(content)
    found = reader.value(1)
    assert isinstance(found, dict)
    assert reader.is_done
    return found


def listed(value: Any) -> Any:
    """As the vectors write it."""
    if isinstance(value, dict):
        return {name: listed(member) for name, member in value.items()}
    if isinstance(value, list):
        return [listed(member) for member in value]
    return value.hex() if isinstance(value, bytes) else value


class Drawn(Mapping[str, bytes]):
    """What a step has drawn, taken by its purpose, in order."""

    PURPOSES: Final = {"ratchet_private": "ratchet key", "kem_m": "kem_m", "offer_seed": "offer seed"}

    def __init__(self, step: Json) -> None:
        self._left: dict[str, deque[bytes]] = {}
        for one in step["randomness"]:
            self._left.setdefault(one["purpose"], deque()).append(bytes.fromhex(one["value"]))

    def __getitem__(self, name: str) -> bytes:
        return self._left[self.PURPOSES.get(name, name)].popleft()

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def all(self, purpose: str) -> list[bytes]:
        """Everything of a purpose that is left."""
        return list(self._left.get(purpose, ()))


@dataclass
class Known:
    """A group as this client knows it."""

    chain: Group
    relation: str
    doubt: str = ""
    rival: str = ""
    absent: set[str] = field(default_factory=set)
    held: list[tuple[str, str, Json]] = field(default_factory=list)
    numbers: dict[str, Json] = field(default_factory=dict)
    names: Json = field(default_factory=dict)
    own_n: int = 0

    def facts(self) -> Json:
        """As ``stores`` lists it."""
        state = self.chain.state
        return {
            "relation": self.relation,
            "doubt": self.doubt,
            "revision": state.revision,
            "head": self.chain.head.hex(),
            "title": state.name,
            "timer": state.timer,
            "members": {text(one): NAMES[state.members[one]] for one in sorted(state.members)},
            "absent": sorted(one for one in self.absent if raw(one) in state.members),
        } | ({"names": self.names} if self.names else {})

    def fork(self, who: str) -> None:
        """Somebody has another history."""
        if self.doubt != "forked":
            self.doubt, self.rival = "forked", who

    def call(self, person: str, said: Json) -> None:
        """A member says what they are called, nothing any more, or nothing of that."""
        if "name" in said:
            self.names.pop(person, None)
        if said.get("name"):
            self.names[person] = said["name"]

    def may_write(self, person: bytes) -> bool:
        state = self.chain.state
        return state.members.get(person, 0) >= state.write


class SecondClient:
    """One client of a scene.

    Args:
        user_id: its own, in base64.
    """

    def __init__(self, user_id: str) -> None:
        self._id = user_id
        self._me = raw(user_id)
        self._owner = Owner(b"", self._me)
        self._privates: dict[bytes, bytes] = {}
        """Prekeys by their public keys; of KEM keys the seeds."""
        self._ephemerals: dict[str, bytes] = {}
        self._sessions: dict[str, Sessions] = {}
        self._newest: dict[str, int] = {}
        self._body_keys: list[bytes] = []
        self._nonces: set[bytes] = set()
        self._heads: set[tuple[str, str, str]] = set()
        self._flying: dict[str, tuple[bytes, bytes]] = {}
        """Changes under way, by the ids of their frames: the group, and the change."""
        self.groups: dict[bytes, Known] = {}
        self.texts: dict[str, Json] = {}
        self.read = self.made = 0
        """Messages that were read, and heads that were made anew."""

    def step(self, step: Json) -> None:
        """Live through one step; an assertion fails where the client listed does something else."""
        drawn = Drawn(step)
        sends = [(json.loads(one["text"]), one.get("content")) for one in step["expect"].get("sends", [])]
        self._take_draws(step, drawn, [frame for frame, _ in sends])
        if step["do"] == "receive":
            self._receive(json.loads(step["text"]), drawn, step["at"])
        elif step["do"].startswith("group-"):
            self._act(step["do"].removeprefix("group-"), step, drawn)
        for frame, content in sends:
            if frame["type"] == "MESSAGE_MANY":
                self._send(frame, content)

    # --- keys -------------------------------------------------------------------------

    def _take_draws(self, step: Json, drawn: Drawn, sends: list[Json]) -> None:
        if step["do"] == "open":
            seed = drawn["identity seed"]
            assert sha256(b"phantom/1 user-id\n" + ed25519_public(seed)) == self._me
            self._owner = Owner(seed, self._me)
        for private in drawn.all("prekey"):
            self._privates[kem_public(private) if len(private) == 64 else x25519_public(private)] = private
        self._body_keys += drawn.all("body key")
        self._nonces |= set(drawn.all("nonce"))
        ephemerals = {x25519_public(private): private for private in drawn.all("ephemeral key")}
        for frame in sends:
            payload = frame.get("payload", {})
            if frame["type"] == "PREKEY_PUBLISH":
                self._published(payload)
            elif frame["type"] == "KEY_EXCHANGE_INIT":
                self._ephemerals[payload["targetId"]] = ephemerals.pop(raw(payload["ephemeralKey"]))
            elif frame["type"] == "PREKEY_FETCH":
                self._ephemerals |= dict(zip(payload["targets"], ephemerals.values(), strict=True))

    def _published(self, payload: Json) -> None:
        owner = self._owner
        if "signedPreKey" in payload:
            owner.signed[payload["signedPreKey"]["id"]] = self._privates[raw(payload["signedPreKey"]["key"])]
        for one in payload.get("oneTimePreKeys", []):
            owner.one_time[one["id"]] = self._privates[raw(one["key"])]
        kems = [*payload.get("kemPreKeys", []), *filter(None, [payload.get("lastResortKemPreKey")])]
        for one in kems:
            owner.kem[one["id"]] = self._privates[raw(one["key"])]

    def _of(self, peer: str) -> Sessions:
        return self._sessions.setdefault(peer, Sessions(self._owner, raw(peer)))

    def _begin(self, found: Json, drawn: Drawn, at: int) -> None:
        """Prekeys have come that were asked for; a session is begun if the client has drawn for one."""
        peer = found["senderId"]
        if not drawn.all("kem_m"):
            return
        last = found.get("lastResortKemPreKey")
        bundle = Bundle(
            identity=raw(found["identityKey"]),
            user_id=raw(peer),
            made_at=found["madeAt"],
            signed_prekey=raw(found["signedPreKey"]),
            signed_prekey_id=found["signedPreKeyId"],
            kem_prekey=raw(found["kemPreKey"]),
            kem_prekey_id=found["kemPreKeyId"],
            kem_prekey_signature=raw(found["kemPreKeySignature"]),
            bundle_signature=raw(found["bundleSignature"]),
            one_time_prekey=raw(found["oneTimePreKey"]) if "oneTimePreKey" in found else None,
            one_time_prekey_id=found.get("oneTimePreKeyId", 0),
            last_resort_digest=None if last is None else raw(last["digest"]),
            last_resort_id=0 if last is None else last["id"],
        )
        ephemeral, newest = self._ephemerals.pop(peer), self._newest.get(peer, 0)
        made = initiate(self._owner, bundle, ephemeral=ephemeral, kem_m=drawn["kem_m"], now=at, newest=newest)
        self._newest[peer] = bundle.made_at
        session = Named.begun(made, bundle, drawn["ratchet_private"], at)
        session.name, session.is_own = x25519_public(ephemeral), True
        self._of(peer).put_first(session)

    # --- messages ---------------------------------------------------------------------

    def _send(self, frame: Json, content: Json) -> None:
        """The client sends a message to many: its body and heads are made anew."""
        payload = frame["payload"]
        body = raw(payload["common"])
        key = next(one for one in self._body_keys if body_keys(one)[0] == body[1:33])
        padded = open_body(key, body)
        said = decoded(unpad(padded))
        assert listed(said) == content
        for one in payload["recipients"]:
            peer, head = one["recipientId"], raw(one["head"])
            place = (payload["messageId"], peer, one["head"])
            if place not in self._heads:
                self._heads.add(place)
                nonce = parse(head + body).nonce
                assert nonce in self._nonces
                written = self._of(peer).sending().write(key, padded, nonce)
                assert (written.head, written.body) == (head, body)
                self.made += 1
            signed = {name: payload[name] for name in ("conversationId", "messageId", "metadata") if name in payload}
            signed |= {"encrypted": one["head"] + payload["common"], "recipientId": peer}
            self._check_envelope(signed, frame["timestamp"], one["signature"], {ed25519_public(self._owner.seed)})
        if "order" in payload:
            self._check_order(payload["order"], said)
            self._flying[frame["id"]] = said["group"], said["change"]

    def _check_order(self, order: Json, said: Json) -> None:
        """The order that goes with a change."""
        change = vector_groups.read(said["change"])
        after = self.groups[said["group"]].chain.state.after(change)
        admins = sorted(person for person, role in after.members.items() if role == 2)
        assert order["name"] == text(sha256(b"phantom/1 order\n" + said["group"]))
        assert order["revision"] == change.fields["revision"]
        assert sorted(order["writers"]) == sorted(map(text, admins))

    @staticmethod
    def _check_envelope(payload: Json, timestamp: int, signature: str, keys: set[bytes]) -> None:
        """The signature of one recipient's MESSAGE, under one of these keys."""
        whole = {"payload": payload, "timestamp": timestamp, "type": "MESSAGE"}
        signed = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
        for key in keys:
            try:
                verify(key, raw(signature), b"phantom/1 envelope\n" + signed)
            except Rejected:
                continue
            return
        raise Rejected("InvalidSignature")

    def _receive(self, frame: Json, drawn: Drawn, at: int) -> None:
        payload = frame.get("payload", {})
        match frame["type"]:
            case "KEY_EXCHANGE_RESPONSE":
                self._begin(payload, drawn, at)
            case "PREKEY_BUNDLES":
                for bundle in payload["bundles"]:
                    self._begin(bundle, drawn, at)
            case "MANY_RESULT" if frame["id"] in self._flying:
                group, change = self._flying.pop(frame["id"])
                self._judge(self.groups[group], change, self._id)
            case "ERROR":
                self._flying.pop(frame.get("id", ""), None)
            case "MESSAGE":
                sender = payload["senderId"]
                signed = {name: value for name, value in payload.items() if name != "senderId"}
                _, padded = self._of(sender).read(
                    raw(payload["encrypted"]),
                    lambda keys: self._check_envelope(signed, frame["timestamp"], frame["signature"], keys),
                    drawn,
                    at,
                )
                self.read += 1
                self._said(sender, payload["messageId"], decoded(unpad(padded)))
            case _:
                pass

    # --- the group ----------------------------------------------------------------------

    def _act(self, what: str, step: Json, drawn: Drawn) -> None:
        """The user does something."""
        if what == "create":
            self._create(drawn["group id"], step["title"], step["at"])
            return
        known = self.groups[raw(step["group"])]
        match what:
            case "accept":
                known.relation = "member"
            case "leave":
                known.relation = "left"
            case "go-on":
                known.doubt = ""
            case "write":
                known.own_n += 1
                number = str(uuid.UUID(bytes=drawn["message id"], version=4))
                self.texts[number] = {"from": "", "text": step["body"]}
            case _:
                pass

    def _create(self, group: bytes, title: str, at: int) -> None:
        public = ed25519_public(self._owner.seed)
        signed = write(
            {
                "version": 1,
                "group": group,
                "revision": 1,
                "previous": NOTHING,
                "at": at,
                "author": self._me,
                "authorKey": public,
                "ops": [{"op": "add", "person": self._me, "role": "admin"}, {"op": "name", "text": title}],
            }
        )
        signature = Ed25519PrivateKey.from_private_bytes(self._owner.seed).sign(b"phantom/1 group-change\n" + signed)
        known = self.groups[group] = Known(Group(State(group)), "member")
        assert known.chain.judge(signed + signature) == ("applied", "")

    def _said(self, sender: str, number: str, said: Json) -> None:
        """Somebody has said something."""
        known, kind = self.groups.get(said["group"]), said["kind"]
        if kind == "group-change" and (known is None or known.relation in OUT_OF_IT):
            self._invited(said)
            return
        if known is None or known.relation not in {"invited", "member"}:
            return
        if kind in {"group-change", "group-changes"}:
            for change in said["changes"] if "changes" in said else [said["change"]]:
                self._judge(known, change, sender)
        elif kind == "group-text":
            self._text(known, sender, number, said)
        elif kind == "group-hello" and raw(sender) in known.chain.state.members:
            known.absent.discard(sender)
            known.call(sender, said)
            if known.chain.compare(said["revision"], said["head"]) == "fork":
                known.fork(sender)

    def _invited(self, said: Json) -> None:
        group = Group(read_state(said["state"]), said["base"]) if said.get("state") else Group(State(said["group"]))
        try:
            is_joined = group.judge(said["change"]) == ("applied", "") and self._me in group.state.members
        except Refused:
            return
        if is_joined:
            self.groups[said["group"]] = Known(group, "invited")

    def _judge(self, known: Known, encoded: bytes, sender: str) -> None:
        verdict, _ = known.chain.judge(encoded)
        if verdict == "fork":
            is_member = raw(sender) in known.chain.state.members
            known.fork(sender if is_member else text(vector_groups.read(encoded).fields["author"]))
        if verdict != "applied":
            return
        if raw(known.rival) not in known.chain.state.members:
            known.doubt = ""
        ops = vector_groups.read(encoded).ops or []
        known.absent |= {text(op["person"]) for op in ops if op["op"] == "add"} - {self._id}
        if self._me not in known.chain.state.members:
            known.relation = "removed"
        elif known.chain.state.closed:
            known.relation = "closed"
        held, known.held = known.held, []
        for writer, number, said in held:
            self._text(known, writer, number, said)

    def _text(self, known: Known, sender: str, number: str, said: Json) -> None:
        standing = known.chain.compare(said["revision"], said["head"])
        if raw(sender) not in known.chain.state.members:
            if standing == "ahead":
                known.held.append((sender, number, said))
            return
        known.call(sender, said)
        if standing == "fork":
            known.fork(sender)
        if not known.may_write(raw(sender)):
            return
        self.texts[number] = {"from": sender, "text": said["body"]}
        count = known.numbers.setdefault(sender, {"last": said["n"], "missing": []})
        count["missing"] = [one for one in count["missing"] if one != said["n"]]
        count["missing"] += range(count["last"] + 1, said["n"])
        count["last"] = max(count["last"], said["n"])
