import pytest

from phantom_messenger.wire import limits
from phantom_messenger.wire.codes import MEANINGS, RECONNECT_AFTER, CloseCode, ErrorCode, Reason, RequestError
from phantom_messenger.wire.limits import RateClass
from support.cases import each


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("INVALID_MESSAGE", 1001),
        ("UNAUTHORIZED", 1002),
        ("RATE_LIMITED", 1003),
        ("USER_NOT_FOUND", 1004),
        ("KEY_EXCHANGE_FAILED", 1005),
        ("MESSAGE_TOO_LARGE", 1006),
        ("INTERNAL_ERROR", 1007),
    ],
)
def test_error_code_is_the_one_of_the_reference(name: str, number: int) -> None:
    assert ErrorCode[name] == number


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (CloseCode.NORMAL, 1000),
        (CloseCode.GOING_AWAY, 1001),
        (CloseCode.POLICY_VIOLATION, 1008),
        (CloseCode.SERVER_ERROR, 1011),
        (CloseCode.AUTHENTICATION_REQUIRED, 4000),
        (CloseCode.AUTHENTICATION_FAILED, 4001),
        (CloseCode.RATE_LIMITED, 4002),
        (CloseCode.INVALID_MESSAGE, 4003),
        (CloseCode.PROTOCOL_ERROR, 1002),
        (CloseCode.INVALID_TEXT, 1007),
        (CloseCode.MESSAGE_TOO_BIG, 1009),
    ],
)
def test_close_code_is_the_one_of_the_reference_or_of_rfc_6455(code: CloseCode, number: int) -> None:
    assert code == number


@pytest.mark.parametrize("code", CloseCode)
def test_client_may_reconnect_only_where_trying_again_can_help(code: CloseCode) -> None:
    assert (code in RECONNECT_AFTER) is (code in {1001, 1011, 4000, 4002})


def test_every_reason_has_a_code_and_a_sentence() -> None:
    assert set(MEANINGS) == set(Reason)


def test_every_error_code_has_a_reason() -> None:
    assert {code for code, _ in MEANINGS.values()} == set(ErrorCode)


def test_no_two_reasons_share_a_sentence() -> None:
    assert len({sentence for _, sentence in MEANINGS.values()}) == len(Reason)


@each("reason", Reason)
def test_refusal_answers_with_the_code_and_sentence_of_its_reason(reason: Reason) -> None:
    refusal = RequestError(reason)
    assert (refusal.code, refusal.message) == MEANINGS[reason]
    assert refusal.details == {"reason": reason.value}
    assert type(refusal.details["reason"]) is str
    assert refusal.retry_after is None


def test_refusal_carries_what_the_client_needs_to_repair_it() -> None:
    details = {"limit": 5}
    refusal = RequestError(Reason.RATE, field="payload.x", retry_after=30_000, details=details)
    assert refusal.retry_after == 30_000
    assert refusal.details == {"reason": "rate", "limit": 5, "field": "payload.x"}
    assert details == {"limit": 5}


def test_rate_limit_is_worded_as_the_reference_words_it() -> None:
    assert MEANINGS[Reason.RATE] == (ErrorCode.RATE_LIMITED, "Rate limited")


@pytest.mark.parametrize(
    ("reason", "limit"),
    [
        (Reason.MESSAGE_SIZE, f"{limits.MAX_MESSAGE_BYTES:,}"),
        (Reason.ENCRYPTED_SIZE, f"{limits.MAX_ENCRYPTED_CHARS:,}"),
        (Reason.METADATA_SIZE, f"{limits.MAX_METADATA_BYTES:,}"),
        (Reason.TOO_DEEP, f"{limits.MAX_DEPTH} levels"),
        (Reason.CLOCK, f"{limits.CLOCK_TOLERANCE_MS // 60_000} minutes"),
    ],
)
def test_sentence_names_the_limit_that_is_in_force(reason: Reason, limit: str) -> None:
    assert limit in MEANINGS[reason][1]


@pytest.mark.parametrize(
    ("limit", "number"),
    [
        (limits.MAX_MESSAGE_BYTES, 64 * 1024),
        (limits.MAX_ENCRYPTED_CHARS, 60 * 1024),
        (limits.MAX_METADATA_BYTES, 1024),
        (limits.MAX_CONNECTIONS_PER_ADDRESS, 10),
        (limits.CONNECTION_TIMEOUT_MS, 30_000),
        (limits.IDLE_TIMEOUT_MS, 300_000),
        (limits.MAX_BACKLOG, 1000),
        (limits.RATE_WINDOW_MS, 60_000),
        (limits.RATES[RateClass.AUTH], 5),
        (limits.RATES[RateClass.MESSAGE], 60),
        (limits.RATES[RateClass.KEY_EXCHANGE], 10),
        (limits.RATES[RateClass.PRESENCE], 30),
        (limits.RATES[RateClass.PING], 60),
    ],
)
def test_limit_is_the_one_of_the_reference(limit: int, number: int) -> None:
    assert limit == number


def test_every_rate_class_has_a_rate() -> None:
    assert set(limits.RATES) == set(RateClass)


def test_backlog_read_and_answered_thrice_stays_within_the_rate_of_acks() -> None:
    assert limits.RATES[RateClass.ACK] > 3 * limits.MAX_BACKLOG


def test_encrypted_holds_whole_groups_of_base64() -> None:
    assert limits.MAX_ENCRYPTED_CHARS % 4 == 0


def test_transport_reads_some_messages_that_are_too_large_so_that_they_are_answered() -> None:
    assert limits.MAX_TRANSPORT_BYTES > limits.MAX_MESSAGE_BYTES
