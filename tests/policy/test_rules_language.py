"""The evaluator of Cloudflare's Rules language, against what its reference says of each part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rules_language import ExpressionError, parse

FIELDS = {
    "http.host": "api.example.com",
    "http.request.method": "GET",
    "http.request.uri.path": '/docs/a"b\\c',
    "http.response.code": 404,
    "http.request.headers": {"accept": ["text/html", "*/*"], "empty": []},
    "http.request.headers.names": ["Accept", "X-Api-Key"],
    "ssl": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("true", True),
        ("ssl", True),
        ("not ssl", False),
        ('http.host eq "api.example.com"', True),
        ('http.host == "API.example.com"', False),
        ('http.host ne "x" and http.host != "y"', True),
        ('http.host contains "example"', True),
        ('http.request.method in {"GET" "HEAD"}', True),
        ('not http.request.method in {"GET" "HEAD"}', False),
        ("http.response.code in {403 404}", True),
        ("http.response.code ge 400 and http.response.code lt 500", True),
        ("http.response.code > 404 or http.response.code <= 403", False),
        (r'http.request.uri.path eq "/docs/a\"b\\c"', True),
        ('starts_with(http.request.uri.path, "/docs/")', True),
        ('ends_with(http.request.uri.path, "/docs/")', False),
        ('starts_with(lower(http.host), "api.")', True),
        ('any(http.request.headers.names[*] == "x-api-key")', False),
        ('any(lower(http.request.headers.names[*])[*] == "x-api-key")', True),
        ('all(http.request.headers.names[*] contains "e")', True),
        ('any(http.request.headers["accept"][*] contains "html")', True),
        ('http.request.headers["accept"][0] eq "text/html"', True),
        ('http.request.headers["accept"][9] eq "text/html"', False),
        ('len(http.request.headers["accept"]) eq 2', True),
        ('len(http.request.headers["missing"]) > 0', False),
        ('http.request.headers["missing"][0] eq "x"', False),
        # not binds tighter than and, and than xor, xor than or.
        ("not ssl or ssl", True),
        ("ssl or ssl and not ssl", True),
        ("(ssl or ssl) and not ssl", False),
        ("ssl xor ssl or ssl", True),
        ("ssl ^^ ssl", False),
        ("ssl && !(ssl || ssl)", False),
    ],
)
def test_an_expression_means_what_the_reference_says(expression: str, *, answer: bool) -> None:
    assert parse(expression).holds(FIELDS) is answer


@pytest.mark.parametrize(
    "expression",
    [
        "", "http.host", "http.host eq", "http.host eq host", '"a', "(ssl", "ssl)", "ssl ssl", "unknown.field",
        "ssl and http.host", 'matches(http.host, "x")', 'http.host in {"a"', "http.host lt 3", "http.host[*]",
        'any(http.host eq "x")[', "http.host ~ 3", "ssl[0]",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_and_never_an_answer(expression: str) -> None:
    with pytest.raises(ExpressionError):
        parse(expression).holds(FIELDS)


def test_the_texts_of_an_expression_are_listed() -> None:
    assert parse(r'http.host eq "a" or http.request.method in {"b" "c\"d"}').literals == ("a", "b", 'c"d')


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_a_quoted_text_is_itself(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse(f'http.host eq "{quoted}"').holds({"http.host": value})


@given(st.booleans(), st.booleans(), st.booleans())
def test_combinations_follow_the_truth_table(a: bool, b: bool, c: bool) -> None:  # noqa: FBT001
    fields = {"a": a, "b": b, "c": c}
    assert parse("a and b or c").holds(fields) is ((a and b) or c)
    assert parse("a or b and not c").holds(fields) is (a or (b and not c))
    assert parse("a xor b and c").holds(fields) is (a is not (b and c))
