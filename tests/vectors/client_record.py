"""What a client is seen to do: how the maker of ``clients.json`` writes it down, and how its player compares it.

A client is looked at from outside alone: frames that it sends, what is in those that it encrypts, what it has stored,
and what it tells its user.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

import msgspec
from kyber_py.ml_kem import ML_KEM_768
from msgspec import UNSET

from phantom_messenger.client import bundles, link, prekey_store, records
from phantom_messenger.client.devices.device_list import DeviceList
from phantom_messenger.client.groups.groups import Groups
from phantom_messenger.client.groups.state import Role
from phantom_messenger.client.groups.store import GroupStore, written
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import ContactRecord, Strength
from phantom_messenger.client.status import (
    DeliveryEvent,
    DeliveryState,
    Event,
    GroupEvent,
    GroupMessageEvent,
    LinkingEvent,
    MessageEvent,
    RequestEvent,
    WarningEvent,
)
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import body, padding, session, session2
from phantom_messenger.crypto.suites import AnySession
from phantom_messenger.wire.frames import Feature

Json = dict[str, Any]
Facts = dict[tuple[str, str], Json]
Draw = Callable[[int, str], bytes]

ONE_TIME: Final = 3
KEMS: Final = 2
"""So few prekeys that a publication stays small."""

ROLES: Final = {Role.MEMBER: "member", Role.ADMIN: "admin"}

FACTS: Final[dict[str, type[records.Record]]] = {
    records.SENT: records.SentRecord,
    records.RECEIVED: records.ReceivedRecord,
    records.UNREADABLE: records.UnreadableRecord,
    records.RECEIPT: records.ReceiptRecord,
    records.CONTACT: records.ContactRecord,
    records.REQUEST: records.RequestRecord,
}


def _noting(encrypted: list[Json], encrypt: Callable[..., Any]) -> Callable[..., Any]:
    def noted(chosen: AnySession, plaintext: bytes, random: Any) -> tuple[AnySession, bytes]:
        after, message = encrypt(chosen, plaintext, random)
        encrypted.append({"message": message, "padded": plaintext})
        return after, message

    return noted


def _noting_body(encrypted: list[Json], seal: Callable[..., bytes]) -> Callable[..., bytes]:
    def noted(padded: bytes, key: bytes) -> bytes:
        sealed = seal(padded, key)
        encrypted.append({"message": sealed, "padded": padded})
        return sealed

    return noted


@contextmanager
def watched(
    draw: Draw, encrypted: list[Json], *, suite: int, many: bool = False, devices: bool = False
) -> Iterator[None]:
    """Have the library's own randomness drawn from ``draw``, and note what is encrypted.

    Args:
        draw: takes a size and a purpose.
        encrypted: gets what is.
        suite: the greatest that the client knows.
        many: whether it knows how to write to many, and so what groups are.
        devices: whether it knows lists of devices.
    """

    def encapsulate(public: bytes) -> tuple[bytes, bytes]:
        shared, ciphertext = ML_KEM_768._encaps_internal(public, draw(32, "kem_m"))
        return bytes(shared), bytes(ciphertext)

    def drawing(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: function(*given, encapsulate=encapsulate, **named)

    changes: list[tuple[Any, str, Any]] = [
        (session, "start", drawing(session.start)),
        (session, "encrypt", _noting(encrypted, session.encrypt)),
        (session2, "start", drawing(session2.start)),
        (session2, "encrypt", _noting(encrypted, session2.encrypt)),
        (session2, "decrypt", drawing(session2.decrypt)),
        (prekey_store, "ONE_TIME_TARGET", ONE_TIME),
        (prekey_store, "REFILL_BELOW", 1),
        (prekey_store, "KEM_TARGET", KEMS),
        (prekey_store, "KEM_REFILL_BELOW", 1),
        # A client need not know how to write to many.
        (
            link,
            "FEATURES",
            [
                Feature.ACK,
                Feature.SUITE2,
                *([Feature.MANY] if many else []),
                *([Feature.DEVICES, Feature.ALLOWANCE] if devices else []),
            ],
        ),
    ]
    if many:
        changes.append((body, "seal", _noting_body(encrypted, body.seal)))
    if suite == session.SUITE:
        # It looks at no date, and needs none.
        changes += [
            (bundles, "_dated", lambda _: None),
            (ContactRecord, "floor", property(_floor_of_suite_1)),
            (ContactRecord, "may_learn", lambda *_: False),
        ]
    with ExitStack() as stack:
        for module, name, value in changes:
            stack.enter_context(patch.object(module, name, value))
        yield


def _floor_of_suite_1(record: ContactRecord) -> Strength:
    return Strength.CLASSICAL if record.allows_classical else Strength.SUITE_1


def sends(texts: list[str], encrypted: list[Json]) -> list[Json]:
    """The frames that were sent, each with what is encrypted in it."""
    written = {msgspec.json.encode(one["message"]).decode().strip('"'): one["padded"] for one in encrypted}
    found = []
    for text in texts:
        payload = json.loads(text).get("payload", {})
        padded = written.get(payload.get("encrypted") or payload.get("common", ""))
        content = {} if padded is None else {"content": shown(msgspec.msgpack.decode(padding.unpad(padded)))}
        found.append({"text": text, **content})
    return found


def shown(value: Any) -> Any:
    """The same with bytes in hex."""
    if isinstance(value, dict):
        return {name: shown(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shown(member) for member in value]
    return value.hex() if isinstance(value, bytes) else value


def tells(events: list[Event]) -> list[Json]:
    """What the user is told, as far as a second client must tell it too."""
    found: list[Json] = []
    for event in events:
        match event:
            case MessageEvent():
                found.append({"event": "text", "message": event.message_id})
            case DeliveryEvent():
                found.append({"event": str(event.state), "message": event.message_id})
            case RequestEvent():
                found.append({"event": "request", "waiting": event.waiting})
            case WarningEvent():
                found.append({"event": "trouble", "word": event.code})
            case GroupMessageEvent():
                found.append({"event": "group-text", "group": event.group, "message": event.message_id})
            case GroupEvent():
                found.append({"event": f"group-{event.news}", "group": event.group})
            case LinkingEvent():
                digits = {"digits": event.digits} if event.digits else {}
                found.append({"event": f"link-{event.step}", **digits})
            case _:
                pass
    return found


def facts(vault: Vault, *, suite: int) -> Facts:
    """What a client has stored of texts, receipts and people; ``suite``: the greatest that it knows."""
    found: Facts = {}
    for kind, type_ in FACTS.items():
        for _, record in vault.all(kind, type_):
            value: Json
            match record:
                case records.SentRecord():
                    value = {"state": str(DeliveryState(record.state)), "text": record.text}
                    found["sent", record.message_id] = value
                case records.ReceivedRecord():
                    value = {"text": record.text, "read": record.read}
                    whole = record.newer
                    found["received", record.message_id] = value | ({} if whole is UNSET else {"newer": whole.hex()})
                case records.UnreadableRecord():
                    found["unreadable", record.message_id] = {"asked": record.times}
                case records.ReceiptRecord():
                    value = {"status": record.status, "under_way": bool(record.carrier)}
                    found["to-tell", record.message_id] = value
                case records.RequestRecord():
                    found["request", record.message_id] = {"is_open": not record.frame}
                case records.ContactRecord():
                    value = {
                        "contact": record.name,
                        "trust": record.trust,
                        "public": record.key.hex(),
                        "blocked": record.blocked,
                    }
                    if suite == session2.SUITE:
                        value |= {"suite": record.suite, "newest": record.newest, "may_be_older": record.allows_older}
                    found["person", record.user_id] = value
    return found | device_facts(vault) | group_facts(vault)


def device_facts(vault: Vault) -> Facts:
    """What a client has stored of devices: the list of each person."""
    found: Facts = {}
    for _, record in vault.all(records.DEVICES, records.DevicesRecord):
        listed = DeviceList.parse(record.encoded)
        devices = [base64.b64encode(device.id).decode() for device in listed.devices]
        found["devices", record.person] = {"revision": listed.revision, "devices": devices}
    return found


def group_facts(vault: Vault) -> Facts:
    """What a client has stored of groups, and of what was said in them."""
    found: Facts = {}
    store = GroupStore(vault)
    for group in store.all():
        record, state = group.record, group.state
        found["group", group.id] = {
            "relation": record.relation,
            "doubt": record.doubt,
            "revision": state.revision,
            "head": group.chain.head.hex(),
            "title": state.name,
            "timer": state.timer,
            "members": {written(person): ROLES[role] for person, role in state.members.items()},
            "absent": record.absent,
        } | ({"names": names} if (names := {one: name for one, name in record.names.items() if name}) else {})
        for text in store.texts(group):
            value: Json = {"from": text.sender, "text": text.text}
            own = {"state": str(DeliveryState(text.state))}
            found["group-text", text.message_id] = value | ({"read": text.read} if text.sender else own)
        counts = store.counts(group.id)
        for sender, count in counts.others.items():
            found["group-numbers", sender] = {"last": count.last, "missing": count.missing}
        for told in store.told().get(group.id, []):
            found["group-to-tell", told.message_id] = {"status": told.status}
    return found


def changes(before: Facts, after: Facts) -> list[Json]:
    """What is new, and what is gone (``null``)."""
    return [
        {"about": about, "id": name, "now": after.get((about, name))}
        for about, name in sorted(before.keys() | after.keys())
        if before.get((about, name)) != after.get((about, name))
    ]


def obey(messenger: Messenger, vault: Vault, step: Json) -> None:
    """Let a client live through one step."""
    match step["do"]:
        case "connect":
            messenger.connected(step["audience"])
        case "receive":
            messenger.receive(step["text"])
        case "disconnect":
            messenger.disconnected(step["code"], "")
        case "tick":
            messenger.tick()
        case "add":
            messenger.contacts.add(step["contact"], step["user_id"])
        case "write":
            messenger.send_text(
                step["user_id"], step["body"], burn=step["burn_after_read"], expires_in=step["expires_in"]
            )
        case "read":
            messenger.mark_read(step["user_id"], step["message"])
        case "accept":
            messenger.contacts.let_in(step["user_id"])
        case "allow-older":
            messenger.contacts.allow_older(step["user_id"])
        case "block":
            messenger.block(step["user_id"])
        case "lose-sessions":
            lose_sessions(messenger, vault, step["user_id"])
        case what if what.startswith("device-"):
            obey_with_devices(messenger, what, step)
        case of_group:
            obey_in_group(messenger.groups, of_group, step)


def obey_with_devices(messenger: Messenger, what: str, step: Json) -> None:
    """As ``obey``, of what a user does with devices."""
    match what:
        case "device-show":
            messenger.linking.show(step["relay"], step["name"])
        case "device-link":
            messenger.linking.begin(step["code"], history=False)
        case "device-confirm":
            assert messenger.linking.type(step["digits"])
        case "device-agree":
            messenger.linking.agree()
        case "device-remove":
            messenger.desk.remove(step["user_id"])
        case unknown:
            raise ValueError(unknown)


def obey_in_group(groups: Groups, what: str, step: Json) -> None:
    """As ``obey``, of what a user does with groups."""
    match what:
        case "group-create":
            groups.create(step["title"], step["people"])
        case "group-accept":
            groups.accept(step["group"])
        case "group-write":
            groups.send_text(step["group"], step["body"])
        case "group-read":
            groups.mark_read(step["group"], step["user_id"], step["message"])
        case "group-add":
            groups.add(step["group"], step["people"])
        case "group-remove":
            groups.remove(step["group"], step["people"])
        case "group-role":
            groups.set_role(step["group"], step["user_id"], step["role"])
        case "group-title":
            groups.rename(step["group"], step["title"])
        case "group-timer":
            groups.set_timer(step["group"], step["expires_in"])
        case "group-call-me":
            groups.call_me(step["group"], step["name"])
        case "group-leave" | "group-close" | "group-go-on":
            act = {"group-leave": groups.leave, "group-close": groups.close, "group-go-on": groups.go_on}[what]
            act(step["group"])
        case unknown:
            raise ValueError(unknown)


def lose_sessions(messenger: Messenger, vault: Vault, peer: str) -> None:
    """The disk has forgotten all sessions with a peer."""
    with vault.transaction() as tx:
        messenger._stores.conversations.forget(tx, peer)
