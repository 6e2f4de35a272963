"""Values on the wire: what goes out comes back, secrets keep their mark, and messages lose them."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins.kubernetes.errors import HIDDEN, redact
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret, decode, encode, has_unknown, keep_secrecy, plain

TEXT = st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(min_value=-(2**53), max_value=2**53) | TEXT | st.just(UNKNOWN)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3) | inner.map(Secret),
    max_leaves=15,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_is_sent_comes_back(value: dict[str, Any]) -> None:
    assert decode(encode(value)) == value


def test_whole_numbers_are_integers() -> None:
    found = decode(encode({"replicas": 3.0, "share": 0.5, "flag": True}))
    assert found == {"replicas": 3, "share": 0.5, "flag": True}
    assert isinstance(found["replicas"], int)
    assert found["flag"] is True


def test_plain_drops_marks_and_nulls() -> None:
    assert plain({"a": Secret({"b": Secret(1)}), "c": None, "d": [None, 1]}) == {"a": {"b": 1}, "d": [None, 1]}


def test_unknowns_are_found_anywhere() -> None:
    assert has_unknown({"a": [{"b": Secret(UNKNOWN)}]})
    assert not has_unknown({"a": [{"b": Secret("x")}]})


def test_outputs_are_secret_where_inputs_are_and_wherever_the_text_appears() -> None:
    inputs = {"data": {"dsn": Secret("postgres://canary")}, "spec": [Secret(5), 6]}
    outputs = {"data": {"dsn": "postgres://canary", "x": "1"}, "status": {"note": "postgres://canary"}, "spec": [5, 6]}
    assert keep_secrecy(outputs, inputs) == {
        "data": {"dsn": Secret("postgres://canary"), "x": "1"},
        "status": {"note": Secret("postgres://canary")},
        "spec": [Secret(5), 6],
    }


def test_without_secrets_the_outputs_are_left_alone() -> None:
    outputs = {"a": [1, {"b": "c"}]}
    assert keep_secrecy(outputs, {"a": [1]}) is outputs


@given(st.text(alphabet="abcdefghij0123456789", min_size=6, max_size=20))
def test_a_message_keeps_no_secret_in_any_spelling(secret: str) -> None:
    encoded = base64.b64encode(secret.encode()).decode()
    message = redact(f'invalid value: "{secret}" ({encoded})', {"data": Secret({"a": [secret]})})
    assert secret not in message
    assert encoded not in message
    assert message == f'invalid value: "{HIDDEN}" ({HIDDEN})'


def test_the_decoded_form_of_a_base64_secret_is_hidden_too() -> None:
    encoded = base64.b64encode(b"canary-password").decode()
    assert redact("bad: canary-password", {"data": Secret({"p": encoded})}) == f"bad: {HIDDEN}"


def test_secrets_do_not_show_in_representations() -> None:
    assert "canary" not in repr({"a": Secret("canary")})
