import json
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantom_messenger.wire.canonical import canonical, depth, parse_strictly
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.frames import Status
from phantom_messenger.wire.limits import MAX_DEPTH, MAX_SAFE_INTEGER
from support.cases import each

VECTORS = Path(__file__).parents[2] / "../shared/vectors/json-canonicalization"

SAFE_INTEGERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ASCII = st.text(st.characters(max_codepoint=127))
SMALL_FLOATS = st.floats(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
"""Floats whose canonical form reads back: an integral one beyond 2^53-1 is written as an integer."""
FINITE_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def json_values(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON values that nest no deeper than the protocol allows."""
    values = leaves
    for _ in range(MAX_DEPTH):
        values = leaves | st.lists(values, max_size=3) | st.dictionaries(names, values, max_size=3)
    return values


ANY_JSON = json_values(st.none() | st.booleans() | SAFE_INTEGERS | SMALL_FLOATS | TEXTS, TEXTS)
PLAIN_JSON = json_values(st.none() | st.booleans() | SAFE_INTEGERS | ASCII, ASCII)


def reason_of(text: bytes) -> Reason:
    with pytest.raises(RequestError) as refusal:
        parse_strictly(text)
    return refusal.value.reason


# --- writing ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_published_vector_is_written_byte_for_byte(name: str) -> None:
    if not VECTORS.is_dir():
        absent = "no RFC 8785 vectors in ../shared/vectors/json-canonicalization"
        if "CI" in os.environ:
            pytest.fail(absent)
        pytest.skip(absent)
    value = parse_strictly((VECTORS / "input" / f"{name}.json").read_bytes())
    expected = (VECTORS / "output" / f"{name}.json").read_bytes()
    assert canonical(value) == expected
    assert canonical(parse_strictly(expected)) == expected


# RFC 8785 appendix B: the bits of an IEEE 754 double, and how ECMAScript writes it.
APPENDIX_B = [
    ("0000000000000000", b"0"),
    ("8000000000000000", b"0"),
    ("0000000000000001", b"5e-324"),
    ("8000000000000001", b"-5e-324"),
    ("7fefffffffffffff", b"1.7976931348623157e+308"),
    ("ffefffffffffffff", b"-1.7976931348623157e+308"),
    ("4340000000000000", b"9007199254740992"),
    ("c340000000000000", b"-9007199254740992"),
    ("4430000000000000", b"295147905179352830000"),
    ("44b52d02c7e14af5", b"9.999999999999997e+22"),
    ("44b52d02c7e14af6", b"1e+23"),
    ("44b52d02c7e14af7", b"1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", b"999999999999999700000"),
    ("444b1ae4d6e2ef4f", b"999999999999999900000"),
    ("444b1ae4d6e2ef50", b"1e+21"),
    ("3eb0c6f7a0b5ed8c", b"9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", b"0.000001"),
    ("41b3de4355555553", b"333333333.3333332"),
    ("41b3de4355555554", b"333333333.33333325"),
    ("41b3de4355555555", b"333333333.3333333"),
    ("41b3de4355555556", b"333333333.3333334"),
    ("41b3de4355555557", b"333333333.33333343"),
    ("becbf647612f3696", b"-0.0000033333333333333333"),
    ("43143ff3c1cb0959", b"1424953923781206.2"),
]


@each(("bits", "expected"), APPENDIX_B)
def test_float_is_written_as_rfc_8785_appendix_b_shows(bits: str, expected: bytes) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == expected


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_float_that_json_does_not_have_is_refused(bits: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(RequestError) as refusal:
        canonical([number])
    assert refusal.value.reason is Reason.NUMBER


@given(FINITE_FLOATS)
def test_written_float_is_the_same_number(number: float) -> None:
    assert float(canonical(number)) == number


@given(FINITE_FLOATS)
def test_written_float_has_no_more_digits_than_it_needs(number: float) -> None:
    def digits(text: str) -> str:
        return re.sub(r"e.*|[-.]", "", text).strip("0")

    assert digits(canonical(number).decode()) == digits(repr(number))


@pytest.mark.parametrize("sign", [1, -1])
def test_largest_exact_integer_is_written_and_the_next_refused(sign: int) -> None:
    assert canonical(sign * (2**53 - 1)) == str(sign * 9007199254740991).encode()
    with pytest.raises(RequestError) as refusal:
        canonical(sign * 2**53)
    assert refusal.value.reason is Reason.NUMBER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"null"),
        (True, b"true"),
        (False, b"false"),
        ([], b"[]"),
        ({}, b"{}"),
        ([[], {}, [{}]], b"[[],{},[{}]]"),
        ([1, "1", None], b'[1,"1",null]'),
        ({"b": 1, "a": {"d": 2, "c": []}}, b'{"a":{"c":[],"d":2},"b":1}'),
        (Status.BURNED, b'"burned"'),
    ],
)
def test_value_is_written_without_white_space_and_in_order(value: Any, expected: bytes) -> None:
    assert canonical(value) == expected


def test_names_are_ordered_by_utf_16_code_units() -> None:
    value = {"\ufb33": 1, "\U0001f602": 2, "\u20ac": 3, "": 4, "A": 5, "a": 6, "a\0": 7}
    assert list(json.loads(canonical(value))) == ["", "A", "a", "a\0", "\u20ac", "\U0001f602", "\ufb33"]


# RFC 8785 section 3.2.2.2: five short escapes, lower-case hex for the rest, nothing else.
CONTROL = {code: f"\\u{code:04x}" for code in range(32)} | {
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


@each(("code", "escape"), CONTROL.items())
def test_character_that_must_be_escaped_has_one_escape(code: int, escape: str) -> None:
    assert canonical({chr(code): chr(code)}) == f'{{"{escape}":"{escape}"}}'.encode()


@pytest.mark.parametrize("text", ["/", "<", "\x7f", "\x80", "é", "\u2028", "\u2029", "\ufeff", "\U0001f602"])
def test_character_that_may_stand_for_itself_does(text: str) -> None:
    assert canonical(text) == f'"{text}"'.encode()


@pytest.mark.parametrize(
    "value",
    ["\ud800", "a\udfff", "\ude02\ud83d", {"\ud800": 1}, ["a", {"b": "\udc00"}], (1, 2), b"bytes", {1, 2}],
)
def test_value_that_i_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(RequestError) as refusal:
        canonical(value)
    assert refusal.value.reason is Reason.JSON


@given(ANY_JSON)
def test_canonical_form_is_its_own_canonical_form(value: Any) -> None:
    text = canonical(value)
    assert canonical(parse_strictly(text)) == text


@given(ANY_JSON)
def test_canonical_form_holds_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(PLAIN_JSON)
def test_integers_and_ascii_are_written_as_a_sorted_encoder_writes_them(value: Any) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == expected.encode()


@given(ANY_JSON, st.sampled_from([None, 0, 1, 4]), st.booleans())
def test_white_space_and_escapes_do_not_change_the_canonical_form(
    value: Any, indent: int | None, escaped: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    assert canonical(parse_strictly(text)) == canonical(value)


# --- reading ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":1,"\\u0061":2}',
        b'{"":1,"":2}',
        b'[{"b":{"a":1,"a":1}}]',
        b'{"x":[1,{"a":null,"a":null}]}',
    ],
)
def test_duplicate_name_is_refused(text: bytes) -> None:
    assert reason_of(text) is Reason.DUPLICATE_NAME


def test_one_name_in_two_objects_is_no_duplicate() -> None:
    assert parse_strictly(b'{"a":{"a":1},"b":[{"a":2},{"a":3}]}') == {
        "a": {"a": 1},
        "b": [{"a": 2}, {"a": 3}],
    }


@pytest.mark.parametrize(
    "number",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e309",
        b"-1e309",
        b"9007199254740992",
        b"-9007199254740992",
        b"18446744073709551616",
        pytest.param(b"9" * 5_000, id="5000 digits"),
        pytest.param(b"-" + b"9" * 5_000, id="minus and 5000 digits"),
        pytest.param(b"1" + b"0" * 400 + b".0", id="float of 400 digits"),
    ],
)
def test_number_beyond_what_json_carries_exactly_is_refused(number: bytes) -> None:
    assert reason_of(b'{"a":[' + number + b"]}") is Reason.NUMBER


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", 1 - 2**53),
        (b"-0", 0),
        (b"0.5", 0.5),
        (b"1E3", 1000.0),
        (b"1e-400", 0.0),
    ],
)
def test_number_that_json_carries_is_read(text: bytes, value: float) -> None:
    read = parse_strictly(text)
    assert read == value
    assert type(read) is type(value)


@each(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"{a:1}",
        b"{'a':1}",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1 2",
        b"[]]",
        b'"',
        b'"\n"',
        b'"\\x"',
        b'"\\u12"',
        b"nan",
        b"// comment\n1",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b"\xef\xbb\xbf1",
        '"a"'.encode("utf-16"),
    ],
)
def test_text_that_is_not_json_in_utf_8_is_refused(text: bytes) -> None:
    assert reason_of(text) is Reason.JSON


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_eight_levels_are_read_and_nine_refused(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")

    eight = opening * (8 // levels) + b"1" + closing * (8 // levels)
    assert canonical(parse_strictly(eight)) == eight
    assert reason_of(b"[" + eight + b"]") is Reason.TOO_DEEP


@pytest.mark.parametrize("levels", [9, 1_000, 100_000])
def test_deep_nesting_is_refused_without_exhausting_the_stack(levels: int) -> None:
    assert reason_of(b"[" * levels + b"]" * levels) is Reason.TOO_DEEP
    assert reason_of(b"[" * levels) is Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b"[[],[]]", 2),
        (b'{"a":[],"b":{"c":[1]}}', 3),
        (b'["[[[{{{"]', 1),
        (b'{"]]]":"}}}"}', 1),
        (b'["\\"[[["]', 1),
        (b'["\\\\",["\\\\"]]', 2),
        (b'["\\\\\\"[[["]', 1),
        ('["é[", [["€"]]]'.encode(), 3),
    ],
)
def test_depth_counts_brackets_outside_of_strings(text: bytes, levels: int) -> None:
    assert depth(text) == levels


@given(ANY_JSON)
def test_depth_of_text_is_the_depth_of_its_value(value: Any) -> None:
    def levels(part: Any) -> int:
        if isinstance(part, dict):
            return 1 + max(map(levels, part.values()), default=0)
        if isinstance(part, list):
            return 1 + max(map(levels, part), default=0)
        return 0

    assert depth(canonical(value)) == levels(value)


JSON_LOOKING = st.text('{}[]",:\\ue0123456789.-+ truefalsn\ud800')


@given(st.binary() | JSON_LOOKING.map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=500)
def test_strict_parser_only_ever_refuses(text: bytes) -> None:
    with suppress(RequestError):
        parse_strictly(text)


@pytest.mark.parametrize("number", [2.0**53, 1e20, -1e20])
def test_float_that_would_be_written_as_an_unsafe_integer_is_refused(number: float) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_strictly(repr(number).encode())
    assert refusal.value.reason is Reason.NUMBER
