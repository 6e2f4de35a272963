"""The verifier of a password against the example of RFC 7677, and what is no password."""

import base64
import re

import pytest

from sandbox.scram import verifier


def test_the_example_of_rfc_7677() -> None:
    """User "user", password "pencil": the server signature of the RFC's exchange follows from the server key."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert verifier("pencil", salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_two_verifiers_of_a_password_differ_and_neither_holds_it() -> None:
    first, second = verifier("correct horse"), verifier("correct horse")
    assert first != second
    assert "horse" not in first + second
    assert re.fullmatch(r"SCRAM-SHA-256\$4096:[\w+/=]+\$[\w+/=]+:[\w+/=]+", first)


@pytest.mark.parametrize("password", ["", "pässword", "line\nbreak", "nul\0"])
def test_what_would_have_to_be_normalised_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        verifier(password)
