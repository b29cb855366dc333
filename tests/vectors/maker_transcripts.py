"""Makes the transcripts of conversations."""

from maker_base import Json, drawn, file_of, flipped, named
from maker_talk import Talk, nonce_place

from phantom_messenger.crypto.ratchet import MAX_RECEIVING_CHAINS, MAX_SKIP, MAX_SKIPPED_AGE_MS, MAX_SKIPPED_KEYS

GONE = "UndecryptableMessage"


def classical(name: str, description: str, *, padded: bool = True) -> Talk:
    """A conversation that Alice has begun, as small as can be."""
    talk = Talk(name, description, padded=padded)
    talk.start(one_time=False, kem=None)
    return talk


def answered(name: str, description: str, *, padded: bool = True) -> Talk:
    """A conversation with a message each way."""
    talk = classical(name, description, padded=padded)
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    return talk


def chain(talk: Talk, who: str, *names: str) -> None:
    """Messages of one turn."""
    for name in names:
        talk.send(who, name)


def read(talk: Talk, who: str, *names: str) -> None:
    """Messages as they come."""
    for name in names:
        talk.receive(who, name)


# --- in order ---------------------------------------------------------------------


def one_message() -> Talk:
    talk = Talk("one-message", "PQXDH with all prekeys; one message, read")
    talk.start()
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    return talk


def last_resort() -> Talk:
    talk = Talk("last-resort", "PQXDH with the last-resort KEM prekey and no one-time prekey; a message each way")
    talk.start(one_time=False, kem="last-resort")
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    return talk


def x3dh() -> Talk:
    talk = Talk("classical", "X3DH with a one-time prekey, for the peer has no KEM prekey; a message each way")
    talk.start(kem=None)
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    return talk


def one_way() -> Talk:
    talk = classical("one-way", "four messages in order, never answered")
    chain(talk, "alice", "a1", "a2", "a3", "a4")
    read(talk, "bob", "a1", "a2", "a3", "a4")
    return talk


def turns() -> Talk:
    talk = classical("turns", "in order, six turns of one or two messages")
    for number in range(3):
        for who, other in (("alice", "bob"), ("bob", "alice")):
            for index in range(1 + number % 2):
                name = f"{who[0]}{number}{index}"
                talk.send(who, name)
                talk.receive(other, name)
    return talk


def sizes() -> Talk:
    talk = classical("sizes", "contents of 0, 255, 256 and 600 bytes: the least size just fits, and is just exceeded")
    for length in (0, 255, 256, 600):
        talk.send("alice", f"length {length}", drawn(f"sizes/{length}", length))
        talk.receive("bob", f"length {length}")
    return talk


def claimed_ids() -> Talk:
    ids = {"alice": drawn("claimed/alice", 16), "bob": drawn("claimed/bob", 64)}
    talk = Talk("claimed-ids", "user ids of 16 and 64 bytes that are no hash of a key; a message each way", ids=ids)
    talk.start(one_time=False, kem=None)
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    return talk


def repeated_handshake() -> Talk:
    talk = Talk("repeated-handshake", "the handshake header is repeated until an answer was read, and not after it")
    talk.start()
    chain(talk, "alice", "a1", "a2")
    read(talk, "bob", "a1")
    talk.send("bob", "b1")
    talk.send("alice", "a3")
    talk.receive("alice", "b1")
    talk.send("alice", "a4")
    # With a handshake header, after the answer: it belongs to the session that is there.
    read(talk, "bob", "a2", "a3", "a4")
    return talk


# --- out of order, lost, twice ----------------------------------------------------


def out_of_order() -> Talk:
    talk = classical("out-of-order", "the five messages of the first chain come as 3, 1, 5, 2, 4; the third begins it")
    chain(talk, "alice", "a1", "a2", "a3", "a4", "a5")
    read(talk, "bob", "a3", "a1", "a5", "a2", "a4")
    return talk


def over_a_turn() -> Talk:
    talk = answered("over-a-turn", "messages of an ended chain come after those of the next one")
    chain(talk, "alice", "a2", "a3", "a4")
    read(talk, "bob", "a2")
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    chain(talk, "alice", "a5", "a6")
    read(talk, "bob", "a6", "a4", "a5", "a3")
    return talk


def lost_in_chain() -> Talk:
    talk = answered("lost-in-chain", "the second of three messages is lost; its key stays")
    chain(talk, "alice", "a2", "a3", "a4")
    read(talk, "bob", "a2", "a4")
    return talk


def lost_at_end() -> Talk:
    talk = answered("lost-at-end", "the last messages of a chain are lost; PN of the next chain tells of them")
    chain(talk, "alice", "a2", "a3", "a4")
    read(talk, "bob", "a2")
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    talk.send("alice", "a5")
    read(talk, "bob", "a5")
    return talk


def lost_turn() -> Talk:
    talk = answered(
        "lost-turn", "all that Bob writes in one turn is lost; Alice goes on in her chain, and both meet again"
    )
    talk.send("alice", "a2")
    talk.receive("bob", "a2")
    chain(talk, "bob", "b2", "b3")
    chain(talk, "alice", "a3")
    read(talk, "bob", "a3")
    talk.send("bob", "b4")
    talk.receive("alice", "b4")
    return talk


def first_lost() -> Talk:
    talk = Talk("first-lost", "the first message is lost: the second one begins the session, with N = 1")
    talk.start(one_time=False)
    chain(talk, "alice", "a1", "a2")
    read(talk, "bob", "a2")
    talk.send("bob", "b1")
    talk.receive("alice", "b1")
    return talk


def twice() -> Talk:
    talk = answered("twice", "what was read is refused at once, later, in a later chain, and when it had been skipped")
    chain(talk, "alice", "a2", "a3", "a4")
    read(talk, "bob", "a2")
    talk.receive("bob", "a2", error=GONE)
    read(talk, "bob", "a4", "a3")
    for name in ("a3", "a4", "a2"):
        talk.receive("bob", name, error=GONE)
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    talk.send("alice", "a5")
    read(talk, "bob", "a5")
    for name in ("a1", "a2", "a3", "a5"):
        talk.receive("bob", name, error=GONE)
    return talk


def crossing() -> Talk:
    talk = answered("crossing", "both write before they read what the other wrote, twice")
    chain(talk, "alice", "a2", "a3")
    chain(talk, "bob", "b2", "b3")
    read(talk, "bob", "a2")
    read(talk, "alice", "b2")
    chain(talk, "alice", "a4")
    chain(talk, "bob", "b4")
    read(talk, "alice", "b4", "b3")
    read(talk, "bob", "a4", "a3")
    return talk


def forged() -> Talk:
    talk = answered(
        "forged", "messages changed on the way are refused and leave no trace; the true ones are read after them"
    )
    chain(talk, "alice", "a2", "a3")
    talk.receive("bob", "a3", error=GONE, bent=lambda message: flipped(message, len(message) - 1))
    read(talk, "bob", "a3")
    talk.receive("bob", "a2", error=GONE, bent=lambda message: flipped(message, nonce_place(message)))
    read(talk, "bob", "a2")
    talk.send("bob", "b2")
    talk.receive("alice", "b2", error=GONE, bent=lambda message: flipped(message, 2))
    read(talk, "alice", "b2")
    return talk


# --- several sessions, copies -----------------------------------------------------


def with_smallest(smallest: str, name: str, description: str, *starts: tuple[str, str]) -> Talk:
    """A conversation in which these sessions would begin with ephemeral keys of which this one's is the smallest."""
    for variant in range(100):
        talk = Talk(name, description, padded=False)
        talk.variant = variant
        for who, label in starts:
            talk.start(who, label, one_time=False, kem=None)
            talk.send(who, f"{who[0]}1 {label}")
        if talk.started()[0] == smallest:
            return talk
    raise ValueError("no variant is like this")


def both_begin(smallest: str) -> Talk:
    talk = with_smallest(
        smallest,
        f"both-begin-{smallest}",
        f"both begin at once: each keeps both sessions and uses {smallest}'s, which has the smaller ephemeral key",
        ("alice", "alice"),
        ("bob", "bob"),
    )
    read(talk, "bob", "a1 alice")
    read(talk, "alice", "b1 bob")
    for who, other in (("alice", "bob"), ("bob", "alice")):
        talk.send(who, f"{who[0]}2")
        talk.receive(other, f"{who[0]}2")
    talk.send("alice", "a3")
    talk.receive("bob", "a3")
    return talk


def both_begin_one_lost(smallest: str) -> Talk:
    talk = with_smallest(
        smallest,
        f"both-begin-one-lost-{smallest}",
        f"both begin at once, {smallest}'s ephemeral key is the smaller one, and Bob's first message is lost",
        ("bob", "bob"),
        ("alice", "alice"),
    )
    read(talk, "bob", "a1 alice")
    # If his own key is the smaller one he goes on in his session, and its handshake header comes with it.
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    talk.send("alice", "a2")
    talk.receive("bob", "a2")
    return talk


def newer_session(smallest: str) -> Talk:
    """The older session is answered; then Alice begins a newer one, and Bob goes on in the older one."""
    for variant in range(100):
        description = f"Alice begins again, and Bob still writes in the older session; {smallest} has the smaller key"
        talk = Talk(f"{smallest}-session-smaller", description, padded=False)
        talk.variant = variant
        talk.start("alice", "older", one_time=False, kem=None)
        talk.send("alice", "a1")
        talk.receive("bob", "a1")
        chain(talk, "bob", "b1", "b2", "b3")
        talk.receive("alice", "b1")
        talk.start("alice", "newer", kem=None)
        if talk.started()[0] == smallest:
            break
    talk.send("alice", "a2")
    # Without a handshake header it is tried on all sessions, the current one first.
    read(talk, "alice", "b3")
    talk.send("alice", "a3")
    read(talk, "bob", "a2", "a3")
    talk.send("bob", "b4")
    read(talk, "alice", "b4", "b2")
    return talk


def sender_restored() -> Talk:
    talk = answered(
        "sender-restored", "Alice is restored from a copy: a number comes twice, with one key and two nonces"
    )
    talk.copy("alice", "before a2")
    talk.send("alice", "a2")
    talk.receive("bob", "a2")
    talk.restore("alice", "before a2")
    chain(talk, "alice", "a2 again", "a3")
    talk.receive("bob", "a2 again", error=GONE)
    read(talk, "bob", "a3")
    talk.send("bob", "b2")
    read(talk, "alice", "b2")
    return talk


def receiver_restored() -> Talk:
    talk = answered(
        "receiver-restored", "Bob is restored from a copy and reads a message again; his next key is another one"
    )
    talk.send("alice", "a2")
    talk.copy("bob", "before a2")
    talk.receive("bob", "a2")
    chain(talk, "bob", "b2")
    talk.restore("bob", "before a2")
    talk.receive("bob", "a2")
    chain(talk, "bob", "b2 again")
    read(talk, "alice", "b2 again")
    # Made with a key that the restored Bob never had; Alice has gone on with his other one.
    talk.receive("alice", "b2", error=GONE)
    talk.send("alice", "a3")
    read(talk, "bob", "a3")
    return talk


def both_restored() -> Talk:
    talk = answered("both-restored", "both are restored from copies of one moment and go on as if nothing had been")
    talk.copy("alice", "alice then")
    talk.copy("bob", "bob then")
    talk.send("alice", "a2")
    talk.receive("bob", "a2")
    talk.restore("alice", "alice then")
    talk.restore("bob", "bob then")
    talk.send("alice", "a2 again")
    talk.receive("bob", "a2 again")
    talk.receive("bob", "a2", error=GONE)
    return talk


# --- at the limits ----------------------------------------------------------------


def jump() -> Talk:
    talk = classical("jump", f"a message jumps {MAX_SKIP} numbers ahead in its chain and is read", padded=False)
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.lose("alice", MAX_SKIP)
    talk.send("alice", "far")
    read(talk, "bob", "far")
    return talk


def jump_too_far() -> Talk:
    talk = classical(
        "jump-too-far", f"a jump of {MAX_SKIP + 1} is refused; a nearer message is still read", padded=False
    )
    talk.send("alice", "a1")
    talk.receive("bob", "a1")
    talk.send("alice", "a2")
    talk.lose("alice", MAX_SKIP)
    talk.send("alice", "far")
    talk.receive("bob", "far", error=GONE)
    read(talk, "bob", "a2", "far")
    return talk


def first_jump() -> Talk:
    description = f"the first message that arrives has N = {MAX_SKIP + 1} and is refused; N = {MAX_SKIP} is read"
    talk = classical("first-jump", description, padded=False)
    talk.lose("alice", MAX_SKIP)
    chain(talk, "alice", "far", "too far")
    talk.receive("bob", "too far", error=GONE)
    read(talk, "bob", "far", "too far")
    return talk


def jump_over_end(name: str, lost: int, error: str | None) -> Talk:
    """So many are lost at the end of a chain, and half of what is allowed at the beginning of the next one."""
    outcome = "read" if error is None else "refused"
    description = (
        f"a jump over the end of a chain, {lost} numbers in it and {MAX_SKIP // 2} in the next one, is {outcome}"
    )
    talk = answered(name, description, padded=False)
    chain(talk, "alice", "a2")
    talk.lose("alice", lost)
    read(talk, "bob", "a2")
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    talk.send("alice", "a3")
    talk.lose("alice", MAX_SKIP // 2 - 1)
    talk.send("alice", "far")
    talk.receive("bob", "far", error=error)
    talk.receive("bob", "a3")
    return talk


def full() -> Talk:
    description = (
        f"{MAX_SKIPPED_KEYS} skipped keys are kept; with one more the oldest goes, and the next is still there"
    )
    talk = classical("full", description, padded=False)
    chain(talk, "alice", "a0", "a1", "a2")
    talk.lose("alice", MAX_SKIPPED_KEYS - 3)
    chain(talk, "alice", "far", "lost", "further")
    read(talk, "bob", "far", "further")
    talk.receive("bob", "a0", error=GONE)
    read(talk, "bob", "a1", "a2", "lost")
    return talk


def full_over_chains() -> Talk:
    gone = MAX_SKIPPED_KEYS // 2
    each = (MAX_SKIPPED_KEYS + gone) // 2
    description = f"of {each} skipped keys of one chain and {each} of the next, the oldest {gone} go"
    talk = answered("full-over-chains", description, padded=False)
    chain(talk, "alice", "a2")
    read(talk, "bob", "a2")
    talk.lose("alice", gone - 1)
    chain(talk, "alice", "gone", "kept")
    talk.lose("alice", each - gone - 1)
    talk.send("bob", "b2")
    talk.receive("alice", "b2")
    # In two steps: one message may not jump over all of them.
    talk.send("alice", "a3")
    read(talk, "bob", "a3")
    talk.lose("alice", each)
    talk.send("alice", "a4")
    read(talk, "bob", "a4")
    talk.receive("bob", "gone", error=GONE)
    read(talk, "bob", "kept")
    return talk


def chains() -> Talk:
    count = MAX_RECEIVING_CHAINS
    description = (
        f"one message of each of {count + 1} chains is held back: the keys of {count} are kept, the oldest goes"
    )
    talk = classical("chains", description, padded=False)
    for number in range(count + 1):
        chain(talk, "alice", f"held {number}", f"a{number}")
        read(talk, "bob", f"a{number}")
        talk.send("bob", f"b{number}")
        read(talk, "alice", f"b{number}")
    talk.receive("bob", "held 0", error=GONE)
    for number in range(1, count + 1):
        read(talk, "bob", f"held {number}")
    return talk


def aged() -> Talk:
    days = MAX_SKIPPED_AGE_MS // 86_400_000
    talk = answered("aged", f"a skipped key is kept for {days} days; a millisecond later it is erased")
    chain(talk, "alice", "a2", "a3", "a4")
    read(talk, "bob", "a4")
    talk.forget("bob", MAX_SKIPPED_AGE_MS)
    read(talk, "bob", "a2")
    talk.forget("bob", 1)
    talk.receive("bob", "a3", error=GONE)
    return talk


def ratchet_json() -> Json:
    """``ratchet.json``."""
    talks = [
        one_message(),
        last_resort(),
        x3dh(),
        one_way(),
        turns(),
        sizes(),
        claimed_ids(),
        repeated_handshake(),
        out_of_order(),
        over_a_turn(),
        lost_in_chain(),
        lost_at_end(),
        lost_turn(),
        first_lost(),
        twice(),
        crossing(),
        forged(),
        both_begin("alice"),
        both_begin("bob"),
        both_begin_one_lost("alice"),
        both_begin_one_lost("bob"),
        newer_session("older"),
        newer_session("newer"),
        sender_restored(),
        receiver_restored(),
        both_restored(),
    ]
    return file_of(
        "Conversations of two people of prekeys.json, step by step, with the state after each step.",
        transcripts=named([talk.transcript() for talk in talks]),
    )


def ratchet_limits_json() -> Json:
    """``ratchet-limits.json``."""
    talks = [
        jump(),
        jump_too_far(),
        first_jump(),
        jump_over_end("jump-over-end", MAX_SKIP // 2, None),
        jump_over_end("jump-over-end-too-far", MAX_SKIP // 2 + 1, GONE),
        full(),
        full_over_chains(),
        chains(),
        aged(),
    ]
    return file_of(
        "As ratchet.json, at the limits: long jumps, many skipped keys, many chains, old keys.",
        transcripts=named([talk.transcript() for talk in talks]),
    )
