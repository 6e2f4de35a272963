"""Loading: every problem at once, one message, and nothing that depends on the order of keys."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settings import SettingsError, load
from settings.load import format_path
from tests.unit.stacks import STACKS, platform_of, problems_of, settings_of


def test_all_problems_are_told_at_once() -> None:
    lines = problems_of(
        "dev",
        {
            "enviroment": "dev",
            "cluster/zones": [],
            "topics/payment-events/partitions": "24",
            "services/payment-service/api/port": 0,
            "services/wallet-service/imge": "x",
        },
    )
    assert [line.split(":")[0] for line in lines] == [
        "cluster.zones",
        "topics.payment-events.partitions",
        "services.payment-service.api.port",
        "services.wallet-service.imge",
        "enviroment",
    ]


def test_a_broken_service_does_not_hide_the_rules_between_the_others() -> None:
    lines = problems_of(
        "dev",
        {
            "services/gateway-service/api/port": 0,
            "services/wallet-service/egress_to": ["kafk"],
            "capacity/horizon": "1-year",
        },
    )
    assert [line.split(": ")[0] for line in lines] == [
        "services.gateway-service.api.port",
        "services.wallet-service.egress_to[0]",
        "services.payment-service.api.scaling.max_replicas",
        "topics.payment-events.partitions",
    ]


def test_a_broken_entry_service_is_not_reported_as_missing_too() -> None:
    lines = problems_of("dev", {"services/payment-service/api/port": 0})
    assert lines == ["services.payment-service.api.port: is 0; allowed: at least 1; fix: change it"]


def test_the_message_counts_names_the_file_and_says_that_nothing_was_changed() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of("dev", {"services/payment-service/api/port": 0, "zzz": 1})
    first, *lines = str(caught.value).splitlines()
    assert first == "Pulumi.dev.yaml: 2 problems in the settings; nothing was changed"
    assert lines == [f"  {problem}" for problem in caught.value.problems]


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_a_platform_that_is_no_mapping_is_refused_with_where_to_start(raw: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        load(raw, source="Pulumi.x.yaml")
    assert "Pulumi.x.yaml: 1 problem in the settings" in str(caught.value)
    assert "payments:platform:" in str(caught.value)
    assert "fix: start from the template: payctl config template" in str(caught.value)


@pytest.mark.parametrize("stack", STACKS)
def test_loading_does_not_change_what_it_reads(stack: str) -> None:
    raw = platform_of(stack)
    load(raw, source="x")
    assert raw == platform_of(stack)


@settings(max_examples=25)  # each loads a whole stack file
@given(st.sampled_from(STACKS), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(stack: str, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(part) for part in value] if isinstance(value, list) else value

    assert load(shuffled(platform_of(stack)), source="x") == settings_of(stack)


def test_paths_are_written_as_in_the_stack_file() -> None:
    assert format_path(("services", "payment-service", "egress_to", 0)) == "services.payment-service.egress_to[0]"
    assert format_path(()) == "payments:platform"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(
        [
            "environment", "cluster", "cluster/zones", "cluster/peers", "cluster/peers/kafka", "topics", "capacity",
            "topics/payment-events", "services", "services/payment-service", "services/payment-service/config",
            "services/payment-service/secrets", "services/payment-service/api/scaling",
            "services/payment-service/api/resources/limits", "services/payment-service/consumer",
        ]
    ),
    JSON,
)  # fmt: skip
def test_whatever_stands_somewhere_is_accepted_or_refused_with_path_and_fix(path: str, value: object) -> None:
    for line in problems_of("dev", {path: value}):
        assert "; fix: " in line
        assert line.split(":")[0]


def test_rules_between_parts_are_told_beside_a_misspelt_key_anywhere() -> None:
    said = problems_of("dev", {"cluster/zoness": ["a"], "services/wallet-service/egress_to": ["kafak"]})
    assert any(problem.startswith("cluster.zoness: unknown key") for problem in said)
    assert any("services.wallet-service.egress_to[0]: is 'kafak'" in problem for problem in said)


def test_a_broken_service_hides_no_rule_about_another_and_is_not_reported_as_missing() -> None:
    said = problems_of(
        "dev", {"services/payment-service/api/port": "8080", "services/wallet-service/egress_to": ["kafak"]}
    )
    assert len(said) == 2
    assert any("egress_to[0]: is 'kafak'" in problem for problem in said)
