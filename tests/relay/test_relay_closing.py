"""Each close code by its cause, on real sockets; test_relay_close_codes has those that take minutes."""

import signal

import pytest

from support.people import Person, flipped
from support.raw_socket import RawSocket, close_frame
from support.reference_client import Connect, ReferenceClient
from support.relay_process import RelayProcess, StartRelay


def test_normal_closure_is_1000(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        raw.opened().send(close_frame(1000))
        assert raw.close_code() == 1000


def test_deleted_account_is_closed_with_1000(relay: RelayProcess, connect: Connect) -> None:
    client = connect(relay).login()
    client.send(client.person.account_delete())
    assert client.closed() == (1000, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_relay_closes_with_1001(start_relay: StartRelay, connect: Connect, number: signal.Signals) -> None:
    relay = start_relay()
    clients = [connect(relay).login(), connect(relay).login(["ack"]), connect(relay)]
    assert relay.stop(number) == 0
    assert [client.closed() for client in clients] == [(1001, [])] * 3
    assert "Traceback" not in relay.log


def test_newer_login_closes_the_older_with_1008(relay: RelayProcess, connect: Connect) -> None:
    person = Person()
    older = connect(relay, person).login()
    newer = connect(relay, person).login()
    assert older.closed() == (1008, [])
    assert newer.ask(person.ping())["type"] == "PONG"


def test_frame_before_login_closes_with_4000(relay: RelayProcess, connect: Connect) -> None:
    client = connect(relay)
    client.send(client.person.presence("online"))
    code, [answer] = client.closed()
    assert (code, answer["payload"]["code"]) == (4000, 1002)


def test_failed_login_closes_with_4001(relay: RelayProcess, connect: Connect) -> None:
    client = connect(relay)
    frame = client.person.auth(client.acknowledgement, client.audience)
    client.send({**frame, "signature": flipped(frame["signature"])})
    code, [answer] = client.closed()
    assert (code, answer["type"], answer["payload"]["code"]) == (4001, "AUTH_FAILURE", 1002)


def test_limited_login_closes_with_4002(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay("--rate-auth", "1")
    connect(relay).login()
    client = connect(relay)
    client.send(client.person.auth(client.acknowledgement, client.audience))
    code, [answer] = client.closed()
    assert (code, answer["type"], answer["payload"]["code"]) == (4002, "AUTH_FAILURE", 1003)


def test_ten_refusals_close_with_4002(start_relay: StartRelay, connect: Connect) -> None:
    client = connect(start_relay("--rate-ping", "1")).login()
    assert client.ask(client.person.ping())["type"] == "PONG"
    for _ in range(10):
        client.send(client.person.ping())
    code, answers = client.closed()
    assert code == 4002
    assert [answer["payload"]["code"] for answer in answers] == [1003] * 10


def test_eleventh_connection_is_closed_with_4002(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay()
    clients = [connect(relay) for _ in range(10)]
    assert connect(relay, greeted=False).closed() == (4002, [])
    clients[0].login()
    clients[1].close()
    assert connect(relay).login().settle() == [], "the place of the one that went is free"


@pytest.mark.parametrize("kind", ["binary", "malformed", "forged"])
def test_misbehaviour_closes_with_4003(relay: RelayProcess, connect: Connect, kind: str) -> None:
    client = connect(relay).login()
    message = client.person.message(client.person)
    for _ in range(10):
        match kind:
            case "binary":
                client.send_binary(b"{}")
                break
            case "malformed":
                client.send_text("{}")
            case _:
                client.send({**message, "signature": flipped(message["signature"])})
    code, answers = client.closed()
    assert code == 4003
    assert len(answers) == (1 if kind == "binary" else 10)
    assert {answer["payload"]["code"] for answer in answers} == {1002 if kind == "forged" else 1001}


def test_close_frame_comes_behind_the_answers(relay: RelayProcess, connect: Connect) -> None:
    client: ReferenceClient = connect(relay).login()
    for _ in range(3):
        client.send(client.person.ping())
    client.send(client.person.account_delete())
    code, answers = client.closed()
    assert (code, [answer["type"] for answer in answers]) == (1000, ["PONG"] * 3)
