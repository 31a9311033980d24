"""Who is asked, who is told, who is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstcause.mesh import Mesh, PeerVerdict
from firstcause.mesh.hosts import REMEMBERED, Realm
from firstcause.mesh.marks import KEY, derive, request_mark, verify_request_mark

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
VERDICT = PeerVerdict("orders", "1", False, "app", "app.slow", "", 40, "orders", "1", "")
SECRET = "a secret of sixteen"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]:8080", True),
        ("::ffff:127.0.0.1", True), ("orders", True), ("ORDERS", True), ("orders:8080", True),
        ("orders.shop.svc", True), ("db.internal.", True), ("printer.local", True), ("pay.corp.example", True),
        ("api.example.net", True),
        ("", False), ("example.com", False), ("127.evil.com", False), ("localhost.evil.com", False),
        ("svc.evil.com", False), ("internal.com", False), ("corp.example", False), ("xapi.example.net", False),
        ("8.8.8.8", False), ("134744072", False), ("0x08080808", False), ("2001:db8::1", False),
        ("a" * 300, False), ("shöp", False),
    ],
)  # fmt: skip
def test_the_realm(host: str, own: bool) -> None:
    """Loopback, names without a dot and the deployment's suffixes are own; addresses and look-alikes are not."""
    assert own == Realm(("*.corp.example", "api.example.net")).own(host)


@given(st.text(max_size=40))
def test_any_host_is_decided(host: str) -> None:
    """A host that nobody could resolve is decided the same way twice."""
    realm = Realm()
    assert realm.own(host) == realm.own(host)


def test_the_realm_remembers_a_bounded_number() -> None:
    """An application that calls ever new hosts does not grow the memory, nor change the answer."""
    realm = Realm()
    assert {False} == {realm.own(f"host{n}.example.com") for n in range(3 * REMEMBERED)}
    assert REMEMBERED == len(realm._known)


def test_a_marked_request_is_verified() -> None:
    """Two services with the same key recognise each other, for this trace only."""
    ours, theirs = Mesh(SECRET), Mesh(SECRET)
    state = f"vendor=1,{KEY}={ours.outgoing('payments', TRACE)}"
    assert theirs.incoming(state, TRACE, False)
    assert not theirs.incoming(state, TRACE ^ 1, True)
    assert not Mesh("another key, also long").incoming(state, TRACE, True)


@pytest.mark.parametrize("state", ["", "fc=", "fc", "xfc={mark}", "fc={mark}0", "fc=é", "fc=\udcff", "a=fc={mark}"])
def test_other_tracestates_prove_nothing(state: str) -> None:
    """Only the exact member with the exact mark is proof."""
    mesh = Mesh(SECRET)
    assert not mesh.incoming(state.format(mark=mesh.outgoing("a", TRACE)), TRACE, True)


def test_a_look_alike_key_hides_nothing() -> None:
    """A vendor's key that ends like ours does not keep ours from being found."""
    mesh = Mesh(SECRET)
    mark = mesh.outgoing("a", TRACE)
    assert mesh.incoming(f"xfc=0,\tfc={mark} ,b=2", TRACE, False)


def test_outsiders_are_neither_marked_nor_believed() -> None:
    """A host outside the realm gets no mark, and its verdict is not read even under the right key."""
    mesh = Mesh(SECRET)
    answer = mesh.answer(VERDICT, TRACE)
    assert "" == mesh.outgoing("api.example.com", TRACE)
    assert mesh.believe(answer, TRACE, "api.example.com") is None
    assert VERDICT == mesh.believe(answer, TRACE, "orders.shop.svc")


def test_without_a_key_only_loopback_peers_count() -> None:
    """No key: peers on this machine find each other, everybody else is asked, told and believed nothing."""
    mesh = Mesh("")
    mark, answer = mesh.outgoing("127.0.0.1", TRACE), mesh.answer(VERDICT, TRACE)
    assert mesh.incoming(f"fc={mark}", TRACE, True)
    assert not mesh.incoming(f"fc={mark}", TRACE, False)
    assert "" == mesh.outgoing("orders", TRACE)
    assert mesh.believe(answer, TRACE, "orders") is None
    assert VERDICT == mesh.believe(answer, TRACE, "LocalHost:8080")


def test_a_request_mark_is_no_answer_mark() -> None:
    """The two marks are separated by domain: an echo of the request's proves nothing."""
    mesh = Mesh(SECRET)
    mark = mesh.outgoing("a", TRACE)
    assert mesh.believe(f'fc;desc="1.AA.{mark}"', TRACE, "a") is None


@given(st.text(max_size=64), st.integers(0, (1 << 128) - 1))
def test_marks_verify(secret: str, trace_id: int) -> None:
    """A mark of any key and trace verifies under that key, and not with its last digit changed."""
    key = derive(secret)
    mark = request_mark(key, trace_id)
    assert verify_request_mark(key, trace_id, mark)
    assert not verify_request_mark(key, trace_id, mark[:-1] + ("0" if mark[-1] != "0" else "1"))
