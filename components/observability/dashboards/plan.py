"""Each board as a ConfigMap that the sidecar of Grafana loads."""

from components.base.manifests import Manifest, metadata
from components.observability.dashboards import boards, boards_backends
from components.observability.dashboards.panels import Board, to_json
from components.observability.model import Surroundings

# What the sidecar of Grafana's chart looks for unless it is told otherwise.
_LOADED_BY = {"grafana_dashboard": "1"}


def stack_boards(around: Surroundings) -> list[Board]:
    """The boards whose metrics are scraped."""
    found = [
        boards.overview(around),
        boards.service(around),
        boards_backends.kafka(around),
        boards_backends.postgresql(around),
        boards_backends.cache(around),
        boards.edge(around),
        boards.autoscaling(around),
        boards.capacity(around),
    ]
    return [board for board in found if board is not None]


def plan_dashboards(around: Surroundings) -> dict[str, Manifest]:
    """Role → ConfigMap."""
    return {f"dashboard-{board.key}": _config_map(around, board) for board in stack_boards(around)}


def _config_map(around: Surroundings, board: Board) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(
            f"dashboard-{board.key}",
            labels={**around.labels.of("dashboard"), **_LOADED_BY},
            namespace=around.namespace,
            annotations={"grafana_folder": around.observability.dashboard_folder},
        ),
        "data": {f"payments-{board.key}.json": to_json(board)},
    }
