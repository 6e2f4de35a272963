"""What payctl says about shards and databases, without any server."""

import json

import pytest
from click.testing import CliRunner, Result

from cli.db import ShardStatus, read_shards
from cli.main import cli
from tests.unit.stacks import REMOVED, settings_of


def run(*arguments: str, standard_input: str = "") -> Result:
    return CliRunner().invoke(cli, list(arguments), input=standard_input)


def test_t22_the_plan_names_buckets_share_and_steps() -> None:
    result = run("shards", "plan", "--stack", "prod", "--add", "s02")
    assert result.exit_code == 0, result.output
    assert (
        "341 of 1024 buckets move, and 33.3% of the users with them; hash % shards would move 66.7%." in result.output
    )
    steps = [line.split()[1] for line in result.output.splitlines() if line[:2] in {f"{n} " for n in range(7)}]
    assert steps == ["prepare", "copy", "catch", "verify", "cut", "clean"]
    # The stack declares its PostgreSQL: the shard is a cluster there as well.
    assert "postgres.shards" in result.output
    assert "s02: {buckets: [341-511, 854-1023]}" in result.output


def test_the_plan_as_json_holds_every_bucket_once() -> None:
    document = json.loads(run("shards", "plan", "--stack", "prod", "--add", "s02", "--json").stdout)
    held = [
        bucket
        for ranges in document["shards"].values()
        for first, _, last in (part.partition("-") for part in ranges)
        for bucket in range(int(first), int(last) + 1)
    ]
    assert sorted(held) == list(range(1024))
    assert document["buckets_moving"] == sum(move["last"] - move["first"] + 1 for move in document["moves"])
    assert {move["to"] for move in document["moves"]} == {"s02"}


@pytest.mark.parametrize(
    ("name", "said"), [("s00", "it holds buckets already; fix: s02"), ("shard-3", "allowed: s00, s01, …")]
)
def test_a_name_that_cannot_be_used_ends_with_two_and_one_message(name: str, said: str) -> None:
    result = run("shards", "plan", "--stack", "prod", "--add", name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_shard_that_nobody_can_ask_is_not_current() -> None:
    result = run("db", "status", "--stack", "prod", "--json")
    assert result.exit_code == 1
    assert [(row["shard"], row["version"], row["current"], row["problem"]) for row in json.loads(result.stdout)] == [
        ("s00", None, False, "no endpoint; name data.shards.s00.endpoint"),
        ("s01", None, False, "no endpoint; name data.shards.s01.endpoint"),
    ]


def test_a_server_that_does_not_answer_is_a_row_without_a_traceback() -> None:
    place = {"host": "127.0.0.1", "port": 1, "password_key": "x", "sslmode": "disable"}
    [row] = read_shards(settings_of("dev", {"data/shards/s00/endpoint": place}))
    assert isinstance(row, ShardStatus)
    assert (row.address, row.current, row.version) == ("127.0.0.1:1", False, None)
    assert "refused" in row.problem
    assert read_shards(settings_of("dev", {"data": REMOVED})) == []


def test_a_verifier_is_made_from_standard_input_and_shows_nothing_of_the_password() -> None:
    result = run("db", "verifier", standard_input="correct horse\n")
    assert result.stdout.startswith("SCRAM-SHA-256$4096:")
    assert "horse" not in result.output
    refused = run("db", "verifier", standard_input="\n")
    assert refused.exit_code == 1
    assert "printable ASCII" in refused.stderr
