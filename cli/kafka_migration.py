"""The two ways to grow a keyed topic without breaking the order of any key, as steps for a person."""


def migration_steps(topic: str, to_partitions: int, groups: tuple[str, ...]) -> dict[str, list[str]]:
    """Name of the way → its steps in order. ``groups`` read the topic."""
    readers = ", ".join(groups) or "every group that reads it"
    successor = f"{topic}-{to_partitions}"
    return {
        "Drain (writes stop for minutes):": [
            f"stop what writes {topic}",
            f"wait until the lag of {readers} and of their retry topics is 0",
            f"set the partitions to {to_partitions}, add the entry to kafka.acknowledged_growth",
            "run payctl kafka ledger, commit the stack file and the ledger, deploy",
            f"start what writes {topic} again",
        ],
        "New topic and dual write (no stop):": [
            f"declare {successor} with {to_partitions} partitions and the same key, record it, deploy",
            f"have writers write each message to {topic} and to {successor}, with an id that readers can compare",
            f"once {readers} are past the first message that was written twice, start groups on {successor}",
            "have these groups skip the ids that are processed already",
            f"stop {readers} once the new groups have caught up, then the writes to {topic}",
            f"keep {topic} in the stack file until its retention of the last message is over",
        ],
    }
