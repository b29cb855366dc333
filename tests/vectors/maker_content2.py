"""Makes the vectors of content 2: what is written, what is only read, and what must be refused."""

import re
from typing import Any, Final

import msgspec
from maker_base import ALICE, BOB, MALLORY, NOW, Json, drawn, file_of, named
from maker_content import IDS, described

from phantom_messenger.client import content2
from phantom_messenger.client.content import LAST_TIME_MS, LEAST_PADDED, Ends, Receipt, Text
from phantom_messenger.crypto import body, padding

ENDS: Final = Ends(ALICE.id, ALICE.identity.peer.public, BOB.id, BOB.identity.peer.public)
pack: Final = msgspec.msgpack.encode


def common(kind: str, **changes: Any) -> Json:
    """A content of a kind, with the fields that all have."""
    fields: Json = {"kind": kind, "version": 2, "sentAt": NOW, "sender": ENDS.sender, "senderKey": ENDS.sender_key}
    return {**fields, **changes}


def text(said: str = "hello", **changes: Any) -> Json:
    """A text as a map."""
    return {**common("text"), "body": said, **changes}


def without(members: Json, *names: str) -> Json:
    """The same map without some fields."""
    return {name: value for name, value in members.items() if name not in names}


def more(members: Json, *pairs: bytes) -> bytes:
    """A map of fewer than 15 fields with further ones behind them, as these bytes."""
    encoded = pack(members)
    return bytes((encoded[0] + len(pairs),)) + encoded[1:] + b"".join(pairs)


def with_value(encoded: bytes) -> bytes:
    """A text with an unknown field that has this value."""
    return more(text(), b"\xa1x" + encoded)


def listed(encoded: bytes) -> Json:
    """A content, with the bytes of a long text that are one character over and over listed once."""
    if run := re.search(rb"([^\x80-\xbf][\x80-\xbf]{0,3})\1{1000,}", encoded):
        repeated = {"at": run.start(), "bytes": run[1].hex(), "times": len(run[0]) // len(run[1])}
        return {"encoded": (encoded[: run.start()] + encoded[run.end() :]).hex(), "repeated": repeated}
    return {"encoded": encoded.hex()}


# --- what is written --------------------------------------------------------------

WRITTEN: Final[dict[str, tuple[str, Text | Receipt]]] = {
    "text": ("a text", Text(sent_at=NOW, body="hello")),
    "empty-text": ("a text without any character", Text(sent_at=NOW, body="")),
    "odd-text": (
        "characters of one to four bytes, a line feed, a combining mark",
        Text(sent_at=NOW, body="a\u00e9\u20ac\U0001f600\n e\u0301\0"),
    ),
    "first-time": ("the least time", Text(sent_at=0, body="hello")),
    "last-time": ("the greatest time, the first day of the year 9999", Text(sent_at=LAST_TIME_MS, body="hello")),
    "receipt": (
        "a receipt of each kind",
        Receipt(sent_at=NOW, delivered=list(IDS), read=[IDS[0]], burned=[IDS[1]], undecryptable=[IDS[0]]),
    ),
    "one-receipt": ("of a receipt only what it says", Receipt(sent_at=NOW, read=[IDS[0]])),
    "empty-receipt": ("a receipt that says nothing", Receipt(sent_at=NOW)),
}


def _written(name: str, description: str, said: Text | Receipt) -> Json:
    encoded = content2.encode(said, ENDS)
    return {
        **_sender(name, description),
        "content": described(msgspec.msgpack.decode(encoded)),
        "said": _said(said),
        "expect": {"encoded": encoded.hex(), "padded": padding.pad(encoded, LEAST_PADDED, body.MAX_PADDED).hex()},
    }


def _sender(name: str, description: str) -> Json:
    return {
        "name": name,
        "description": description,
        "sender": ENDS.sender.hex(),
        "sender_key": ENDS.sender_key.hex(),
    }


def _said(said: Text | Receipt) -> Json:
    fields = {name: value for name, value in msgspec.structs.asdict(said).items() if name not in {"sent_at", "marks"}}
    return {"kind": "text" if isinstance(said, Text) else "receipt", "sentAt": said.sent_at, **fields}


# --- what is only read ------------------------------------------------------------


def _forms() -> dict[str, tuple[str, bytes]]:
    """A text in other forms of MessagePack, all of which say the same."""
    fields = text("hi", sentAt=1)
    pairs = [pack(name) + pack(value) for name, value in fields.items()]
    whole = b"".join(pairs)
    at = whole.index(b"\xa6sentAt") + 7
    integers = {
        "uint-8": b"\xcc\1",
        "uint-16": b"\xcd\0\1",
        "uint-32": b"\xce" + bytes(3) + b"\1",
        "uint-64": b"\xcf" + bytes(7) + b"\1",
        "int-8": b"\xd0\1",
        "int-16": b"\xd1\0\1",
        "int-32": b"\xd2" + bytes(3) + b"\1",
        "int-64": b"\xd3" + bytes(7) + b"\1",
    }
    key, named_key = b"\xc4\x20" + ENDS.sender_key, b"\xa4body\xa2hi"
    return {
        "map-16": ("a map with a length of 16 bits", b"\xde\0\x06" + whole),
        "map-32": ("a map with a length of 32 bits", b"\xdf\0\0\0\x06" + whole),
        "other-order": ("the fields in another order", b"\x86" + b"".join(reversed(pairs))),
        **{
            f"time-{form}": (f"a time as {form.replace('-', ' ')}", b"\x86" + whole[:at] + integer + whole[at + 1 :])
            for form, integer in integers.items()
        },
        "bin-16": ("a key with a length of 16 bits", b"\x86" + whole.replace(key, b"\xc5\0\x20" + key[2:])),
        "bin-32": ("a key with a length of 32 bits", b"\x86" + whole.replace(key, b"\xc6\0\0\0\x20" + key[2:])),
        "str-8": ("texts with a length of 8 bits", b"\x86" + whole.replace(named_key, b"\xd9\4body\xd9\2hi")),
        "str-16": ("texts with a length of 16 bits", b"\x86" + whole.replace(named_key, b"\xda\0\4body\xda\0\2hi")),
        "str-32": (
            "texts with a length of 32 bits",
            b"\x86" + whole.replace(named_key, b"\xdb\0\0\0\4body\xdb\0\0\0\2hi"),
        ),
    }


def _nested(levels: int) -> bytes:
    """So many arrays inside each other."""
    return b"\x91" * (levels - 1) + b"\x90"


LONGEST: Final = "x" * 40_000
ODD_IDS: Final = ("-" * 36, "\U0001f600" * 36)
HELLO: Final = _said(Text(sent_at=NOW, body="hello"))
NEWER: Final = {"newer": True, "sentAt": NOW}


def _read() -> list[Json]:
    receipt = _said(Receipt(sent_at=NOW, read=[IDS[0]]))
    rows: dict[str, tuple[str, bytes, Json]] = {
        **{name: (*row, _said(Text(sent_at=1, body="hi"))) for name, row in _forms().items()},
        "unknown-field": ("a field that is not known", pack(text(color="red")), HELLO),
        "recipient": ("the recipient, as in content 1: not known here", pack(text(recipient=MALLORY.id)), HELLO),
        "unknown-structure": (
            "an unknown field with a value of every type",
            pack(text(x=[None, True, -(2**63), 2**64 - 1, "x", b"x", [[]], {"a": {"a": 1}}])),
            HELLO,
        ),
        "same-name-elsewhere": ("the name of a field again, inside another one", pack(text(x={"body": 1})), HELLO),
        "eight-levels": ("maps and arrays in eight levels", with_value(_nested(7)), HELLO),
        "number-in-eight-levels": ("eight levels with a number in the last", with_value(b"\x91" * 7 + b"\1"), HELLO),
        "constants": ("nil and booleans as names' values", pack(text(x=None, y=True, z=False)), HELLO),
        "not-normalised": (
            "two names that are one when they are normalised",
            more(text(), b"\xa2\xc3\xa9\1", b"\xa3e\xcc\x81\1"),
            HELLO,
        ),
        "longest-text": (
            "a text of 40,000 bytes",
            pack(text(LONGEST)),
            _said(Text(sent_at=NOW, body=LONGEST)),
        ),
        "odd-ids": (
            "ids of 36 characters that are no UUIDs, of one and of four bytes",
            pack(common("receipt", delivered=list(ODD_IDS))),
            _said(Receipt(sent_at=NOW, delivered=list(ODD_IDS))),
        ),
        "same-id-twice": (
            "a receipt with an id twice",
            pack(common("receipt", burned=[IDS[0]] * 2)),
            _said(Receipt(sent_at=NOW, burned=[IDS[0]] * 2)),
        ),
        "empty-name": ("a field with an empty name", pack(text() | {"": 1}), HELLO),
        "receipt-all-arrays": (
            "a receipt with empty arrays",
            pack(common("receipt", delivered=[], read=[IDS[0]], burned=[], undecryptable=[])),
            receipt,
        ),
        "receipt-unknown-field": ("a receipt with a field more", pack(common("receipt", read=[IDS[0]], x=1)), receipt),
        "text-with-arrays": ("a text with fields of a receipt", pack(text(read=7)), HELLO),
        "most-ids": (
            "a receipt with 200 ids",
            pack(common("receipt", read=[IDS[0]] * 200)),
            _said(Receipt(sent_at=NOW, read=[IDS[0]] * 200)),
        ),
        "unknown-kind": ("a kind that is not known", pack(common("picture", blob=b"\1\2", width=3)), NEWER),
        "short-kind": ("a kind of one character", pack(common("x")), NEWER),
        "long-kind": ("a kind of 64 characters", pack(common("a-0" + "z" * 61)), NEWER),
        "version-3": ("a text of version 3", pack(text(version=3)), NEWER),
        "version-3-without-body": ("a text of version 3 without a body", pack(common("text", version=3)), NEWER),
        "greatest-version": ("the greatest version", pack(text(version=2**64 - 1)), NEWER),
        "unknown-kind-version-3": ("a kind and a version that are not known", pack(common("x", version=3)), NEWER),
    }
    claimed = {
        f"claimed-id-{len(short)}": ("a sender whose id is claimed", short, pack(text(sender=short)))
        for short in (drawn("content 2/short id", 16), drawn("content 2/long id", 64))
    }
    return [
        *(
            {**_sender(name, description), **listed(encoded), "expect": {"said": said}}
            for name, (description, encoded, said) in rows.items()
        ),
        *(
            {**_sender(name, description), "sender": own.hex(), **listed(encoded), "expect": {"said": HELLO}}
            for name, (description, own, encoded) in claimed.items()
        ),
    ]


# --- what must be refused ---------------------------------------------------------


def _faults_of_form() -> dict[str, tuple[str, bytes]]:
    deep = pack(text(x=[{"y": 0}])).replace(b"\x81\xa1y\0", b"\x82\xa1y\0\xa1y\1")
    return {
        "nothing": ("no bytes", b""),
        "array": ("an array", pack(list(text().values()))),
        "number": ("a number", b"\2"),
        "two": ("two maps", pack(text()) * 2),
        "more-behind": ("a byte behind the map", pack(text()) + b"\xc0"),
        "cut-off": ("a map that is cut off", pack(text())[:-1]),
        "cut-off-unknown": ("a map that is cut off in a field that is not known", with_value(b"\xc4\2x")),
        "too-few": ("a map of fewer fields than it says", b"\x87" + pack(text())[1:]),
        "huge-map": ("a map of 2^32-1 fields, and six are there", b"\xdf\xff\xff\xff\xff" + pack(text())[1:]),
        "twice": ("a field twice, with the same value", more(text(), b"\xa4body\xa5hello")),
        "twice-otherwise": ("a field twice, with another value", more(text(), b"\xa4body\xa5there")),
        "twice-unknown": ("an unknown field twice", more(text(), b"\xa1x\1", b"\xa1x\1")),
        "twice-other-form": ("a field twice, its name once in a longer form", more(text(), b"\xd9\4body\xa5hello")),
        "twice-inside": ("a field twice in a map inside an unknown field", deep),
        "twice-in-unknown-kind": ("an unknown kind with a field twice", more(common("x"), b"\xa1x\1", b"\xa1x\1")),
        "number-as-name": ("a field whose name is a number", pack({**text(), 7: 1})),
        "bytes-as-name": ("a field whose name is binary", more(text(), b"\xc4\1x\1")),
        "nil-as-name": ("a field whose name is nil", more(text(), b"\xc0\1")),
        "number-as-name-inside": ("a map inside an unknown field with a number as a name", pack(text(x={7: 1}))),
        "array-as-name": ("a field whose name is an array", more(text(), b"\x90\1")),
        "float-time": ("a time as a float", pack(text(sentAt=float(NOW)))),
        "float": ("a float in an unknown field", pack(text(x=0.5))),
        "short-float-inside": ("a float of 32 bits in an array", with_value(b"\x91\xca\x3f\x80\0\0")),
        "float-in-unknown-kind": ("an unknown kind with a float", pack(common("x", x=1.5))),
        "extension": ("an extension type of one byte", with_value(b"\xd4\1\0")),
        "extension-8": ("an extension type with a length", with_value(b"\xc7\1\1\0")),
        "timestamp": ("MessagePack's own timestamp", with_value(b"\xd6\xff\0\0\0\1")),
        "never-used": ("the byte that MessagePack never uses", with_value(b"\xc1")),
        "not-utf-8": ("a body that is not UTF-8", pack(text("xxx")).replace(b"xxx", b"x\xff\xfe")),
        "surrogate": ("half a surrogate pair in an unknown field", with_value(b"\xa3\xed\xa0\xbd")),
        "overlong": ("an overlong form of UTF-8 in an unknown field", with_value(b"\xa2\xc0\x80")),
        "name-not-utf-8": ("a name that is not UTF-8", more(text(), b"\xa1\xff\1")),
        "nine-levels": ("maps and arrays in nine levels", with_value(_nested(8))),
        "number-in-nine-levels": ("nine levels with a number in the last", with_value(b"\x91" * 8 + b"\1")),
        "nine-levels-in-unknown-kind": ("an unknown kind in nine levels", more(common("x"), b"\xa1x" + _nested(8))),
        "twice-common": ("a common field twice", more(text(), b"\xa7version\2")),
        "nine-levels-of-maps": ("maps in nine levels", with_value(b"\x81\xa1x" * 7 + b"\x80")),
        "endless-levels": ("arrays in 2,000 levels, without an end", with_value(b"\x91" * 2_000)),
    }


def _faults_of_fields() -> dict[str, tuple[str, bytes]]:
    picture = common("picture")
    values: dict[str, list[tuple[str, str, Any]]] = {
        "kind": [
            ("number", "a number", 1),
            ("bytes", "binary", b"text"),
            ("empty", "empty", ""),
            ("capital", "with a capital letter", "Text"),
            ("line-feed", "with a line feed", "text\n"),
            ("space", "with a space", "te xt"),
            ("accent", "with a letter that is not ASCII", "t\u00e9xt"),
            ("digit", "with a digit that is not ASCII", "text-\u0663"),
            ("underscore", "with an underscore", "te_xt"),
            ("nil", "nil", None),
            ("long", "of 65 characters", "x" * 65),
        ],
        "version": [
            ("1", "1", 1),
            ("0", "0", 0),
            ("negative", "negative", -3),
            ("true", "true", True),
            ("text", "a text", "2"),
            ("nil", "nil", None),
        ],
        "sentAt": [
            ("negative", "before 1970", -1),
            ("far", "after the first day of 9999", LAST_TIME_MS + 1),
            ("text", "a text", "1"),
            ("true", "true", True),
            ("nil", "nil", None),
        ],
        "sender": [
            ("other", "another user", MALLORY.id),
            ("empty", "empty", b""),
            ("text", "a text", ENDS.sender.hex()),
            ("long", "with a byte more", ENDS.sender + b"\0"),
            ("array", "an array of numbers", list(ENDS.sender)),
        ],
        "senderKey": [
            ("other", "another user's", MALLORY.identity.peer.public),
            ("short", "31 bytes", bytes(31)),
            ("long", "with a byte more", ENDS.sender_key + b"\0"),
            ("text", "a text", ENDS.sender_key.hex()),
        ],
        "body": [
            ("bytes", "binary", b"hello"),
            ("nil", "nil", None),
            ("number", "a number", 7),
            ("long", "of 40,001 bytes", "x" * 40_001),
            ("long-in-bytes", "of 40,002 bytes in 13,334 characters", "\u20ac" * 13_334),
        ],
    }
    arrays: list[tuple[str, str, Any]] = [
        ("nil", "nil for an array", None),
        ("text", "an id and no array", IDS[0]),
        ("short-id", "an id of 35 characters", [IDS[0][1:]]),
        ("long-id", "an id of 37 characters", [IDS[0] + "0"]),
        ("bytes-id", "an id as binary", [IDS[0].encode()]),
        ("number-id", "a number as an id", [7]),
        ("map", "a map for an array", {IDS[0]: 1}),
        ("bytes", "binary for an array", IDS[0].encode()),
        ("long-in-characters", "an id of 36 bytes in 35 characters", ["\u00e9" + "-" * 34]),
        ("too-many", "201 ids", [IDS[0]] * 201),
    ]
    return {
        **{f"no-{name}": (f"a text without `{name}`", pack(without(text(), name))) for name in text()},
        **{
            f"unknown-kind-no-{name}": (f"an unknown kind without `{name}`", pack(without(picture, name)))
            for name in picture
        },
        **{
            f"{name}-{word}": (f"`{name}`: {what}", pack(text(**{name: value})))
            for name, rows in values.items()
            for word, what, value in rows
        },
        "unknown-kind-sender-other": ("an unknown kind of another sender", pack({**picture, "sender": MALLORY.id})),
        "unknown-kind-far": ("an unknown kind of a time too far", pack({**picture, "sentAt": LAST_TIME_MS + 1})),
        "version-3-sender-other": ("a version 3 of another sender", pack(text(version=3, sender=MALLORY.id))),
        "content-1": ("content of version 1", pack(text(version=1, recipient=BOB.id, recipientKey=ENDS.recipient_key))),
        **{
            f"receipt-{word}": (f"a receipt with {what}", pack(common("receipt", read=value)))
            for word, what, value in arrays
        },
    }


def content2_json() -> Json:
    """``content-2.json``."""
    refused = _faults_of_form() | _faults_of_fields()
    return file_of(
        "Content 2, inside messages of suite 2: what is written, what is only read, and what must be refused.",
        note="The order of the members of a map and the forms of MessagePack are free; "
        "`encoded` under `expect` is what the SDK writes.",
        contents=named([_written(name, *row) for name, row in WRITTEN.items()]),
        read=named(_read()),
        refused=named(
            [
                {
                    **_sender(name, description),
                    **listed(encoded),
                    "expect": {"error": "InvalidMessage"},
                }
                for name, (description, encoded) in refused.items()
            ]
        ),
    )
