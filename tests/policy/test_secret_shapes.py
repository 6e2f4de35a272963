"""Which names and texts count as secrets, and that a finding never repeats one."""

import pytest

from policies.evaluate import evaluate
from policies.secret_values import is_card_number, secret_in_text, secret_word
from tests.policy.samples import DEV, platform_with

CANARY = "canary-7f3a91"


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "db.password",
        "dbPassword",
        "API_KEY",
        "apiKey",
        "signing-key",
        "AUTH_TOKEN",
        "clientSecret",
        "PGPASSWORD",
    ],
)
def test_names_that_hold_a_secret(name: str) -> None:
    assert secret_word(name) is not None


@pytest.mark.parametrize(
    "name",
    ["PARTITION_KEY", "IDEMPOTENCY_KEY_TTL_SECONDS", "TOKEN_URL", "PASSWORD_FILE", "secretName", "KEYSTORE", "MONKEY",
     "password_encryption", "key", "cache-key"],
)  # fmt: skip
def test_names_that_only_describe_one(name: str) -> None:
    assert secret_word(name) is None


@pytest.mark.parametrize("number", ["4111111111111111", "5555555555554444", "378282246310005", "2223003122003222"])
def test_card_numbers(number: str) -> None:
    assert is_card_number(number)
    assert secret_in_text(f"card {number}.") == "a card number"


@pytest.mark.parametrize("number", ["4111111111111112", "1732446123456789", "1000000000000000", "0000000000000000"])
def test_numbers_that_are_no_card(number: str) -> None:
    assert not is_card_number(number)


@pytest.mark.parametrize(
    "content",
    [
        "password: ${DB_PASSWORD}", 'password = "$(cat /run/secrets/db)"', "bearer_token_file: /var/run/token",
        "password: ''", "partition key: user_id", "postgres://app@db/payments", "timeout_ms: 1732446123456",
        "postgres://app:${DB_PASSWORD}@db/payments", "sha256:" + "4111111111111111" * 4,
    ],
)  # fmt: skip
def test_texts_without_a_secret(content: str) -> None:
    assert secret_in_text(content) is None


@pytest.mark.parametrize(
    "content",
    [
        f"password: {CANARY}", f'{{"apiToken": "{CANARY}"}}', f"spring.datasource.password={CANARY}",
        f"postgres://app:{CANARY}@db/payments", f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n",
        f"a: 1\nsecret={CANARY}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("ConfigMap", "data>application.yaml"),
        ("Deployment", "spec>template>spec>containers>0>args"),
        ("Deployment", "spec>template>spec>containers>0>env>0>value"),
    ],
)
def test_a_finding_names_the_place_and_never_the_value(content: str, kind: str, path: str) -> None:
    value: object = [content] if path.endswith("args") else content
    findings = evaluate(platform_with(kind, "payment-service", path, value), DEV)
    assert len(findings) == 1
    assert findings[0].policy.startswith("no-secrets-in-")
    assert CANARY not in repr(findings)
