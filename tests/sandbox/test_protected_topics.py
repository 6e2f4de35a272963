"""A topic of prod on the real engine: taking it out of the program, or renaming it, is refused, and it stays."""

import textwrap

from cli.recording import ROOT
from tests.sandbox.test_provider import Program, program

__all__ = ["program"]

TOPIC = "wallet-events"
BODY = """
import sys

sys.path[:0] = {paths!r}

from dataclasses import replace

from components.kafka.broker_config import broker_config
from components.kafka.component import KafkaCluster, KafkaClusterArgs
from components.kafka.model import KafkaContext
from settings import load
from tests.unit.stacks import platform_of

settings = load(platform_of("prod"), source="prod")
context = KafkaContext.of(settings)
kept = {{name: context.topics[old] for name, old in {topics!r}.items()}}
context = replace(
    context,
    kafka=settings.kafka.model_copy(update={{"wait_until_ready": False}}),  # no operator runs here
    namespace=NAMESPACE + "-brokers",
    topics={{name: replace(topic, name=name) for name, topic in kept.items()}},
    users={{}},
)
KafkaCluster(
    "kafka",
    KafkaClusterArgs(context=context, config=broker_config(settings)),
    pulumi.ResourceOptions(providers=[cluster]),
)
"""


def _with_topics(program: Program, topics: dict[str, str]) -> Program:
    return program.write(textwrap.dedent(BODY).format(paths=[str(ROOT), str(ROOT / "client")], topics=topics))


def _topics(program: Program) -> set[str]:
    found = program.cluster.get("kafkatopics.kafka.strimzi.io", "--namespace", f"{program.namespace}-brokers")
    return {item["metadata"]["name"] for item in found["items"]}


def test_a_topic_of_prod_cannot_be_destroyed_or_renamed(program: Program) -> None:
    both = {"payment-events": "payment-events", TOPIC: TOPIC}
    try:
        _with_topics(program, both).up()
        assert _topics(program) == set(both)
        without = {"payment-events": "payment-events"}
        # The engine makes the new name before it refuses to take the old one away; pack and ledger refuse both earlier.
        renamed = {**without, "purse-events": TOPIC}
        for changed in (without, renamed):
            answer = _with_topics(program, changed).up(success=False)
            assert f"topic-{TOPIC}" in answer
            assert "cannot be deleted" in answer
            assert "protect" in answer
            assert TOPIC in _topics(program)
        answer = program.run("destroy", "--yes", "--skip-preview", success=False).output
        assert "protect" in answer
        assert TOPIC in _topics(program)
        # Once somebody has lifted the protection on purpose, the program forgets the topic; the brokers keep it.
        urn = next(item["urn"] for name, item in program.resources().items() if name.endswith(f"topic-{TOPIC}"))
        program.engine.run(["state", "unprotect", urn, "--yes", "--stack", "dev"], timeout_seconds=60)
        _with_topics(program, renamed).up()
        assert _topics(program) == {*both, "purse-events"}
        assert not any(name.endswith(f"topic-{TOPIC}") for name in program.resources())
    finally:
        program.cluster.kubectl("delete", "namespace", f"{program.namespace}-brokers", "--wait=false", check=False)
