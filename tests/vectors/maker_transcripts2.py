"""Makes the transcripts of suite 2."""

from collections.abc import Callable
from typing import Final

import maker_points as points
from maker_base import Json, drawn, file_of, flipped, named
from maker_talk2 import Talk2

from phantom_messenger.crypto import head, primitives
from phantom_messenger.crypto.head import HEAD_BYTES, KemCiphertext, KemKey, PartKind
from phantom_messenger.crypto.ratchet import MAX_SKIPPED_AGE_MS
from phantom_messenger.crypto.ratchet2 import OFFER_AFTER_MESSAGES, OFFER_AFTER_MS

FOREIGN_KEY: Final = primitives.kem_public(drawn("suite 2/foreign KEM key", 64))

Make = Callable[[Talk2], None]


def _greetings(talk: Talk2) -> None:
    talk.start()
    talk.deliver("alice", "hello")
    talk.deliver("bob", "hello yourself")


def _greeted(talk: Talk2) -> None:
    """A message each way."""
    talk.go_on("greetings", _greetings)


def _a_week_later(talk: Talk2) -> None:
    _greeted(talk)
    talk.now += OFFER_AFTER_MS
    talk.deliver("alice", "a week later")


def _offered(talk: Talk2) -> None:
    """Bob has an offer open, which Alice has not seen."""
    talk.go_on("a-week-later", _a_week_later)


def _one_message(talk: Talk2) -> None:
    talk.start()
    talk.deliver("alice", "hello")


def _least(talk: Talk2) -> None:
    talk.start(one_time=False, one_time_kem=False)
    talk.deliver("alice", "hello")
    talk.deliver("bob", "hello yourself")


def _handshake_repeated(talk: Talk2) -> None:
    talk.start()
    for name in ("first", "second", "third"):
        talk.send("alice", name)
    talk.receive("bob", "second")
    talk.deliver("bob", "reply")
    talk.receive("bob", "first")
    talk.deliver("alice", "without a handshake header")
    talk.receive("bob", "third")


def _turns(talk: Talk2) -> None:
    _greeted(talk)
    for number in range(3):
        talk.deliver("alice", f"a{number}", f"b{number}")
        talk.deliver("bob", f"c{number}")


def _repeated(talk: Talk2) -> None:
    _greeted(talk)
    talk.deliver("alice", "once")
    talk.receive("bob", "once")
    talk.receive("bob", "hello")


def _offer_by_time(talk: Talk2) -> None:
    _offered(talk)
    talk.deliver("bob", "offer")
    talk.deliver("alice", "answer")
    talk.deliver("bob", "nothing is due")


def _not_yet_due(talk: Talk2) -> None:
    _greeted(talk)
    talk.now += OFFER_AFTER_MS - 1
    talk.deliver("alice", "a millisecond before a week has passed")
    talk.deliver("bob", "no offer")


def _offer_by_count(talk: Talk2) -> None:
    _greeted(talk)
    # The greetings are two of the messages of both; what is lost counts for its sender alone.
    talk.lose("alice", OFFER_AFTER_MESSAGES - 4)
    talk.deliver("alice", "the 49th of Alice's count")
    talk.deliver("bob", "the 50th")
    talk.deliver("alice", "offer")
    talk.deliver("bob", "answer")
    talk.deliver("alice", "after the answer")


def _one_before_count(talk: Talk2) -> None:
    _greeted(talk)
    talk.lose("alice", OFFER_AFTER_MESSAGES - 5)
    talk.deliver("alice", "the 48th of Alice's count")
    talk.deliver("bob", "the 49th")
    talk.deliver("alice", "no offer")


def _offer_lost_at_first(talk: Talk2) -> None:
    _offered(talk)
    for name in ("first", "second", "third"):
        talk.send("bob", name)
    talk.receive("alice", "third")
    talk.lose("alice", 2)
    talk.deliver("alice", "answer")
    talk.receive("alice", "first")
    talk.deliver("bob", "goes on")
    talk.receive("alice", "second")


def _answer_out_of_order(talk: Talk2) -> None:
    _offered(talk)
    talk.deliver("bob", "offer")
    for name in ("first answer", "second answer", "third answer"):
        talk.send("alice", name)
    for name in ("second answer", "third answer", "first answer"):
        talk.receive("bob", name)


def _offers_of_both(talk: Talk2) -> None:
    _offered(talk)
    talk.deliver("bob", "offer")
    talk.deliver("alice", "answer")
    talk.deliver("bob", "between")
    talk.now += OFFER_AFTER_MS
    talk.deliver("alice", "a second week later")
    talk.deliver("bob", "second offer of Bob")
    talk.deliver("alice", "second answer")
    talk.now += OFFER_AFTER_MS
    talk.deliver("bob", "a third week later")
    talk.deliver("alice", "offer of Alice")
    talk.deliver("bob", "answer of Bob")


def _unanswered(talk: Talk2) -> None:
    _offered(talk)
    talk.deliver("bob", "offer")
    talk.now += 4 * OFFER_AFTER_MS
    talk.deliver("bob", "the same offer, a month later")
    talk.deliver("alice", "answer")


def _clock_back(talk: Talk2) -> None:
    _greeted(talk)
    talk.now -= 1
    talk.deliver("alice", "by a clock that is behind")
    talk.deliver("bob", "offer")


def _jump(talk: Talk2) -> None:
    _offered(talk)
    talk.lose("bob", 256)
    talk.deliver("bob", "offer")
    talk.deliver("alice", "answer")


def _jump_too_far(talk: Talk2) -> None:
    _offered(talk)
    talk.lose("bob", 256)
    talk.send("bob", "in reach afterwards")
    talk.send("bob", "too far")
    talk.receive("alice", "too far")
    talk.receive("alice", "in reach afterwards")
    talk.receive("alice", "too far")


def _restored_before_offer(talk: Talk2) -> None:
    _greeted(talk)
    talk.copy("bob", "before the offer")
    talk.now += OFFER_AFTER_MS
    talk.deliver("alice", "a week later")
    talk.deliver("bob", "offer")
    talk.restore("bob", "before the offer")
    talk.deliver("alice", "answer to an offer that is gone")


def _restored_with_offer(talk: Talk2) -> None:
    _offered(talk)
    talk.copy("bob", "with the offer")
    talk.deliver("bob", "offer")
    talk.deliver("alice", "answer")
    talk.deliver("bob", "goes on")
    talk.restore("bob", "with the offer")
    talk.deliver("alice", "no answer")


def _restored_answerer(talk: Talk2) -> None:
    _offered(talk)
    talk.copy("alice", "before the offer came")
    talk.deliver("bob", "offer")
    talk.send("alice", "answer that is lost")
    talk.restore("alice", "before the offer came")
    talk.deliver("bob", "the offer again")
    talk.deliver("alice", "another answer")
    talk.receive("bob", "answer that is lost")


def _forged(talk: Talk2) -> None:
    """One bit in each field, of an offer and of its answer."""
    _offered(talk)
    message = talk.send("bob", "offer")
    for place in (1, 2, 1_186, 1_217, 1_221, 1_225, 1_226, 1_240, 1_285, 1_286, 1_287, 1_288, 1_320, 1_400, 1_592):
        talk.receive("alice", "offer", flipped(message, place))
    talk.receive("alice", "offer")
    message = talk.send("alice", "answer")
    for place in (0, 2, 1_090, 1_190, 1_191):
        talk.receive("bob", "answer", flipped(message, place))
    talk.receive("bob", "answer")


def _wrong_forms(talk: Talk2) -> None:
    _greeted(talk)
    message = talk.send("alice", "text")
    plain, body = message[:102], message[102:]
    for changed in (
        message[:1],
        message[:101],
        plain,
        message[:-1],
        message[:-3],
        message + bytes(3),
        b"\1" + message[1:],
        b"\3" + message[1:],
        b"\2\4" + message[2:],
        plain + b"\1" + body[1:],
        plain + body[:-1] + b"\1",
        plain[:-3] + body,
        b"\2\2" + FOREIGN_KEY + plain[2:] + b"\0" + body,
        b"\2\3" + bytes(1_088) + plain[2:] + b"\0" + body,
    ):
        talk.receive("bob", "text", changed)
    talk.receive("bob", "text")


def _rules(talk: Talk2) -> None:
    """Parts that a chain may not have."""
    _greeted(talk)
    hello, answer = head.parse(talk.messages["hello"]).handshake, KemCiphertext(bytes(1_088))
    talk.send("alice", "text")
    for part in (hello, answer):
        talk.receive("bob", "text", talk.carrying("alice", part))
    talk.receive("bob", "text", talk.carrying("alice", KemKey(b"\xff" * 1_184)))
    talk.receive("bob", "text", talk.carrying("alice", KemKey(b"\x01\x0d" + FOREIGN_KEY[2:])))
    talk.now += OFFER_AFTER_MS
    talk.receive("bob", "text")
    talk.deliver("bob", "offer")
    talk.send("alice", "answer")
    for wrong in (None, KemKey(FOREIGN_KEY), answer, hello):
        talk.receive("bob", "answer", talk.carrying("alice", wrong))
    talk.receive("bob", "answer")


def _exchanged(talk: Talk2) -> None:
    """Heads and bodies of two messages, exchanged."""
    _greeted(talk)
    one, other = talk.send("alice", "one"), talk.send("alice", "other")
    end = HEAD_BYTES[PartKind.NOTHING]
    talk.receive("bob", "one", one[:end] + other[end:])
    talk.receive("bob", "other", other[:end] + one[end:])
    talk.receive("bob", "one")
    talk.receive("bob", "other")


def _first_lost(talk: Talk2) -> None:
    talk.start()
    for name in ("first", "second", "third"):
        talk.send("alice", name)
    for name in ("third", "third", "first", "first", "second"):
        talk.receive("bob", name)


def _forged_first(talk: Talk2) -> None:
    """One bit in each field of a first message but Alice's identity, to which her user id is bound."""
    talk.start()
    message = talk.send("alice", "hello")
    for place, bit in (
        (1, 2),
        (34, 1),
        (65, 128),
        (69, 1),
        (73, 1),
        (77, 4),
        (77, 1),
        (78, 1),
        (1_165, 128),
        (1_166, 1),
        (1_197, 128),
        (1_198, 128),
        (1_201, 1),
        (1_205, 1),
        (1_206, 1),
        (1_217, 1),
        (1_218, 1),
        (1_265, 1),
        (1_266, 1),
        (1_267, 1),
        (1_299, 1),
        (1_570, 1),
        (1_571, 1),
    ):
        talk.receive("bob", "hello", flipped(message, place, bit))
    talk.receive("bob", "hello")


def _each_byte(talk: Talk2) -> None:
    """One bit in each byte of a head."""
    _greeted(talk)
    message = talk.send("alice", "text")
    for place in range(HEAD_BYTES[PartKind.NOTHING]):
        talk.receive("bob", "text", flipped(message, place))
    talk.receive("bob", "text")


def _bad_ratchet_keys(talk: Talk2) -> None:
    """Keys of small order, and one that is not canonical, in place of DHs: the head need not be authentic."""
    _greeted(talk)
    message = talk.send("alice", "text")
    for key in points.SMALL_X25519[:6]:
        talk.receive("bob", "text", message[:2] + key + message[34:])
    talk.receive("bob", "text", flipped(message, 33, 128))
    talk.receive("bob", "text")


def _known_chain(talk: Talk2) -> None:
    """Authentic messages of a chain that is known already, with other parts: they are of no account."""
    _greeted(talk)
    hello = head.parse(talk.messages["hello"]).handshake
    skipped = talk.send("alice", "skipped")
    talk.deliver("alice", "text")
    for number, part in enumerate((KemKey(FOREIGN_KEY), KemKey(b"\xff" * 1_184), KemCiphertext(bytes(1_088)), hello)):
        name = f"part {number}"
        message = talk.carrying("alice", part, name)
        talk.send("alice", name)
        talk.receive("bob", name, message)
        talk.receive("bob", name)
    end = HEAD_BYTES[PartKind.NOTHING]
    talk.receive("bob", "skipped", b"\2\3" + bytes(1_088) + skipped[2:end] + b"\0" + skipped[end:])
    talk.receive("bob", "skipped")


def _several_chains(talk: Talk2) -> None:
    """Of six chains a message each is overtaken; five chains are remembered."""
    _greeted(talk)
    for number in range(6):
        talk.send("alice", f"late {number}")
        talk.deliver("alice", f"a{number}")
        talk.deliver("bob", f"b{number}")
    for number in (0, 5, 1, 1, 3, 2, 4):
        talk.receive("bob", f"late {number}")


def _most_skipped(talk: Talk2) -> None:
    """300 messages of two chains are skipped, and 256 keys are kept."""
    _greeted(talk)
    talk.send("alice", "0")
    talk.lose("alice", 42)
    for name in ("43", "44"):
        talk.send("alice", name)
    talk.lose("alice", 155)
    talk.deliver("alice", "200")
    talk.deliver("bob", "reply")
    talk.lose("alice", 100)
    talk.deliver("alice", "100 of the next chain")
    for name in ("0", "43", "44"):
        talk.receive("bob", name)


def _jump_over_an_end(talk: Talk2) -> None:
    """What is skipped at the end of a chain counts with what is skipped in the next."""
    _greeted(talk)
    talk.deliver("alice", "a0")
    talk.lose("alice", 200)
    talk.deliver("bob", "b0")
    talk.lose("alice", 56)
    talk.send("alice", "256 are skipped")
    talk.send("alice", "257 would be")
    for name in ("257 would be", "256 are skipped", "257 would be"):
        talk.receive("bob", name)


def _late_counts(talk: Talk2) -> None:
    """A message that was overtaken is the one which makes an offer due."""
    _greeted(talk)
    talk.lose("bob", OFFER_AFTER_MESSAGES - 6)
    talk.send("alice", "late")
    talk.deliver("alice", "the 47th of Bob's count")
    talk.receive("bob", "late")
    talk.deliver("bob", "the 49th")
    talk.deliver("alice", "the 50th")
    talk.deliver("bob", "offer")


def _forgotten(talk: Talk2) -> None:
    """Skipped keys are kept for 30 days; reading does not look at their age."""
    _greeted(talk)
    for name in ("first", "second", "third"):
        talk.send("alice", name)
    talk.receive("bob", "third")
    talk.now += MAX_SKIPPED_AGE_MS
    talk.forget("bob")
    talk.receive("bob", "first")
    talk.now += 1
    talk.forget("bob")
    talk.receive("bob", "second")


TALKS: Final[list[tuple[str, str, Make]]] = [
    ("one-message", "a first message", _one_message),
    ("greetings", "a message each way; others go on after it", _greetings),
    ("a-week-later", "and another one after seven days: an offer is due", _a_week_later),
    ("least", "no one-time keys: the last-resort KEM prekey", _least),
    ("handshake-repeated", "the first chain repeats the handshake header, a later one does not", _handshake_repeated),
    ("turns", "some turns without a KEM step", _turns),
    ("repeated", "messages that arrive again", _repeated),
    ("offer-by-time", "after seven days an offer, its answer, and then nothing", _offer_by_time),
    ("not-yet-due", "one millisecond less", _not_yet_due),
    ("offer-by-count", "after 50 messages an offer and its answer", _offer_by_count),
    ("one-before-count", "one message less", _one_before_count),
    ("offer-lost-at-first", "the third message of a chain brings the offer", _offer_lost_at_first),
    ("answer-out-of-order", "the second message of a chain brings the answer", _answer_out_of_order),
    ("offers-of-both", "one side offers twice, then the other", _offers_of_both),
    ("unanswered", "an offer that is answered a month later is the same one", _unanswered),
    ("clock-back", "a time before the last secret's makes an offer due", _clock_back),
    ("jump", "256 messages of the chain of an offer are lost", _jump),
    ("jump-too-far", "257 are, until one in between arrives", _jump_too_far),
    ("restored-before-offer", "a copy from before the offer gets its answer", _restored_before_offer),
    ("restored-with-offer", "a copy with an open offer gets a chain without an answer", _restored_with_offer),
    ("restored-answerer", "a copy answers the same offer again, with another ciphertext", _restored_answerer),
    ("forged", "one bit changed in each field of an offer and of its answer", _forged),
    ("wrong-forms", "messages of other lengths, suites and parts", _wrong_forms),
    ("rules", "authentic messages that carry what their chain must not", _rules),
    ("exchanged", "the head of one message with the body of another", _exchanged),
    ("first-lost", "the third message begins the session, and each is read once", _first_lost),
    ("forged-first", "one bit changed in each field of a first message", _forged_first),
    ("each-byte", "one bit changed in each byte of a head", _each_byte),
    ("bad-ratchet-keys", "ratchet keys that are not allowed", _bad_ratchet_keys),
    ("known-chain", "other parts in messages of a known chain are of no account, but authenticated", _known_chain),
    ("several-chains", "a message each of six chains is overtaken, and five chains are remembered", _several_chains),
    ("most-skipped", "300 messages of two chains are skipped, and 256 keys are kept", _most_skipped),
    (
        "jump-over-an-end",
        "256 messages are lost, at the end of one chain and in the next, and then 257",
        _jump_over_an_end,
    ),
    ("late-counts", "the 50th message is counted because an overtaken one came", _late_counts),
    ("forgotten", "skipped keys that are older than 30 days are erased", _forgotten),
]


def _transcript(name: str, description: str, make: Make) -> Json:
    talk = Talk2(name, description)
    make(talk)
    return talk.transcript()


def suite2_ratchet_json() -> Json:
    """``suite2-ratchet.json``."""
    return file_of(
        "Conversations in suite 2, with offered and answered KEM keys, and with messages that must be refused.",
        transcripts=named([_transcript(*row) for row in TALKS]),
    )
