"""A pod of a consumer group, as a process: ``python -m tests.sandbox.kafka.member FILE``.

The file says what to connect to; each handled message becomes a line ``partition offset`` of the journal that it names.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from payments_client.kafka.access import Access
from payments_client.kafka.contract import KafkaContract
from payments_client.kafka.loop import LoopOptions
from payments_client.kafka.runner import Runner


def main() -> None:
    """Run one member until SIGTERM."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    contract = KafkaContract.model_validate_json(json.dumps(told["contract"]))
    access = Access(
        username=told["username"],
        password=Path(told["password_file"]).read_text(encoding="utf-8"),
        authority_file=Path(told["authority_file"]),
    )
    with Path(told["journal"]).open("a", encoding="utf-8", buffering=1) as journal:

        def handle(message: Any) -> None:
            time.sleep(told["handler_seconds"])
            journal.write(f"{message.partition()} {message.offset()}\n")

        options = LoopOptions(commit_seconds=told["commit_seconds"])
        Runner(told["group"], handle, contract, access, options=options, uses_retry_topic=False).run()


if __name__ == "__main__":
    main()
