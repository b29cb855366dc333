"""A second computation of what own devices tell each other: ``protocol/devices.md`` and nothing of ours."""

import zlib
from typing import Any

import msgspec
from vector_reference2 import Rejected

PERSON = {"at": 0, "name": "", "verified": False, "blocked": False, "removed": False}
SETTINGS = ("readReceipts", "typing", "presence")
Json = dict[str, Any]


def later_person(known: Json, heard: Json) -> Json:
    """The later ``at``; then ``blocked``, ``removed``, ``verified``, ``name``."""

    def place(one: Json) -> tuple[int, bool, bool, bool, bytes]:
        full = {**PERSON, **one}
        return full["at"], full["blocked"], full["removed"], full["verified"], full["name"].encode()

    return heard if place(heard) > place(known) else known


def later_settings(known: Json, heard: Json) -> Json:
    """By ``at``; of the same time, the one with more ``false``, in the order of the table."""
    full = {**known, **heard}

    def place(one: Json) -> list[int]:
        return [one["at"], *(0 if one[name] else 1 for name in SETTINGS)]

    return full if place(full) > place(known) else known


def later_muted(known: Json, heard: Json) -> Json:
    """The later ``at``; of the same time, what is muted."""
    places = [(one["at"], 1 if one["muted"] else 0) for one in (known, heard)]
    return heard if places[1] > places[0] else known


def read_chunk(data: bytes) -> Json:
    """The bytes of ``texts``: one whole zlib stream of one map."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, 1_048_577)
        found = msgspec.msgpack.decode(plain)
    except (zlib.error, msgspec.DecodeError):
        raise Rejected("InvalidMessage") from None
    if not stream.eof or stream.unused_data or len(plain) > 1_048_576 or not isinstance(found, dict):
        raise Rejected("InvalidMessage")
    texts = {name: found.get(name, empty) for name, empty in (("sent", []), ("received", []), ("groups", {}))}
    if not isinstance(texts["groups"], dict):
        raise Rejected("InvalidMessage")
    texts["groups"] = {name: {"texts": [], "names": {}, **group} for name, group in texts["groups"].items()}
    in_groups = [one for group in texts["groups"].values() for one in group["texts"]]
    for one in (*texts["sent"], *texts["received"], *in_groups):
        is_gone = one["text"] is None or one.get("burn") or one.get("expires_at") is not None
        if is_gone or one.get("expires_in") is not None or not 0 <= one.get("state", 0) <= 6:
            raise Rejected("InvalidMessage")
    return texts
