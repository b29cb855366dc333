"""What the tables of protocol/phantom.md must say, made from the code."""

from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct, UnsetType

from phantom_messenger import labels
from phantom_messenger.relay.rules import RULES
from phantom_messenger.wire import frames, limits
from phantom_messenger.wire.codes import MEANINGS, RECONNECT_AFTER, CloseCode

Row = tuple[str, ...]


class Table(NamedTuple):
    """The columns of a table that are compared, and what stands in them."""

    columns: tuple[int, ...]
    rows: list[Row]

    def written(self, rows: list[list[str]]) -> list[Row]:
        """The compared columns of a table that was read."""
        return [tuple(row[column] for column in self.columns) for row in rows]


def expected() -> dict[str, Table]:
    """Each table by the heading that it stands under."""
    found = {
        "Close codes": Table((0, 2), [(str(int(code)), _yes(code in RECONNECT_AFTER)) for code in CloseCode]),
        "Frames": Table((0, 1, 2), _envelope()),
        "Signatures": Table((0, 1), _purposes()),
        "Errors": Table((0, 1, 2), [(str(int(code)), str(reason), text) for reason, (code, text) in MEANINGS.items()]),
        "Limits": Table((0, 1), [(name, f"{value:,}") for name, value in _constants(limits).items()]),
        "Rules and rates": Table((0, 1, 2, 3, 4, 5, 6), _rules()),
    }
    for name in sorted(frames.CLIENT_FRAMES.keys() | frames.RELAY_FRAMES.keys()):
        if rows := _fields(name):
            found[name] = Table((0, 1, 2, 3), rows)
    return found


def _constants(module: Any) -> dict[str, int]:
    return {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, int)}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _purposes() -> list[Row]:
    written = {
        "envelope": labels.ENVELOPE,
        "signed-prekey": labels.SIGNED_PREKEY,
        "kem-prekey": labels.KEM_PREKEY,
        "prekey-bundle": labels.PREKEY_BUNDLE,
    }
    return [(name, label.decode().replace("\n", "\\n")) for name, label in written.items()]


# --- who may send what ------------------------------------------------------------


_WHEN: Final = {True: "any time", False: "after login"}


def _rules() -> list[Row]:
    rows = []
    for kind, rule in RULES.items():
        name = _type(kind)
        # A second AUTH is refused by the state of the session, not by the table.
        when = "before login" if kind is frames.Auth else _WHEN[rule.anyone]
        sender = "both" if name in frames.RELAY_FRAMES else "client"
        rate = f"{limits.RATES[rule.rate]:,}"
        rows.append((name, sender, when, str(rule.rate), rate, _yes(rule.signed), _yes(rule.sheds)))
    relay_only = [name for name in frames.RELAY_FRAMES if name not in frames.CLIENT_FRAMES]
    return [*rows, (", ".join(relay_only), "relay", "-", "-", "-", "-", "-")]


def _type(kind: type[frames.Frame]) -> str:
    return str(next(field.default for field in msgspec.structs.fields(kind) if field.name == "type"))


# --- fields -----------------------------------------------------------------------

_FORMS: Final[dict[Any, str]] = {
    frames.Base64: "base64",
    frames.DeviceList: "base64",
    frames.Triples: "triples",
    frames.Key32: "key",
    frames.KemKey: "kem-key",
    frames.Signature: "signature",
    frames.UserId: "user-id",
    frames.MessageId: "uuid",
    frames.EnvelopeId: "id",
    frames.ConversationId: "conversation",
    frames.Integer: "integer",
    frames.PreKeyId: "prekey-id",
    frames.Revision: "revision",
    frames.RoutedKeyExchangeResponsePayload: "payload of KEY_EXCHANGE_RESPONSE",
    Raw: "metadata",
    str: "text",
    bool: "bool",
    dict: "object",
}


def form_of(annotation: Any) -> str:
    """What the document calls the form of a field."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(
            "null" if part is type(None) else form_of(part) for part in get_args(annotation) if part is not UnsetType
        )
    if annotation in _FORMS:
        return _FORMS[annotation]
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(bare) is list:
        return f"[{form_of(get_args(bare)[0])}]"
    if get_origin(bare) is Literal:
        return "/".join(get_args(bare))
    if get_origin(bare) is dict or bare in _FORMS:
        return _FORMS[get_origin(bare) or bare]
    if issubclass(bare, StrEnum):
        return "/".join(bare)
    if issubclass(bare, Struct):
        members = [
            f"{field.encode_name}{'' if field.required else '?'}: {form_of(field.type)}"
            for field in msgspec.structs.fields(bare)
        ]
        return "{" + ", ".join(members) + "}"
    raise TypeError(f"the document has no word for {annotation}")


def _fields(name: str) -> list[Row]:
    """The members of a payload: name, form, whether a client and whether the relay sends it."""
    sent, got = _payload(frames.CLIENT_FRAMES.get(name)), _payload(frames.RELAY_FRAMES.get(name))
    rows: list[Row] = []
    for field in sorted(sent.keys() | got.keys()):
        forms = {form_of(side[field].type) for side in (sent, got) if field in side}
        rows.append((field, max(forms, key=len), _need(sent.get(field)), _need(got.get(field))))
    return rows


def _payload(frame: type[frames.Frame] | None) -> dict[str, msgspec.structs.FieldInfo]:
    if frame is None:
        return {}
    payload = next((field.type for field in msgspec.structs.fields(frame) if field.name == "payload"), None)
    kinds = [kind for kind in get_args(payload) or (payload,) if isinstance(kind, type) and issubclass(kind, Struct)]
    return {field.encode_name: field for kind in kinds for field in msgspec.structs.fields(kind)}


def _need(field: msgspec.structs.FieldInfo | None) -> str:
    if field is None:
        return "-"
    return "must" if field.required else "may"


def _envelope() -> list[Row]:
    """The members of all envelopes: name, the frames of clients and of the relay that have them."""
    return [
        (name, _holders(frames.CLIENT_FRAMES, name), _holders(frames.RELAY_FRAMES, name))
        for name in ("type", "timestamp", "payload", "id", "signature", "seq")
    ]


def _holders(kinds: Any, name: str) -> str:
    fields = {
        kind: next((field for field in msgspec.structs.fields(frame) if field.encode_name == name), None)
        for kind, frame in kinds.items()
    }
    must = [kind for kind, field in fields.items() if field is not None and (field.required or name == "type")]
    may = [kind for kind, field in fields.items() if field is not None and kind not in must]
    words = []
    for need, holders in (("must", must), ("may", may)):
        missing = [kind for kind in kinds if kind not in holders]
        if holders and not missing:
            words.append(f"{need}: all")
        elif holders and len(missing) <= len(holders) // 2:
            words.append(f"{need}: all but {', '.join(missing)}")
        elif holders:
            words.append(f"{need}: {', '.join(holders)}")
    return "; ".join(words) or "-"
