"""``python3 -m reconfigure COMMAND``; the settings come from the environment, passwords from files."""

import sys

from . import configure, etcd_forget, etcd_snapshot, etcd_users, rollout
from .requests import RequestError
from .waiting import DeadlineError

_COMMANDS = {
    "configure": configure.main,
    "etcd-forget": etcd_forget.main,
    "etcd-snapshot": etcd_snapshot.main,
    "etcd-users": etcd_users.main,
    "keep": configure.keep_main,
    "rollout": rollout.main,
}


def main(arguments: list[str]) -> int:
    """Run one command; 0 when all is as desired, 1 when it could not be reached, 2 for a wrong call."""
    if len(arguments) != 1 or arguments[0] not in _COMMANDS:
        print(f"usage: python3 -m reconfigure {{{','.join(_COMMANDS)}}}", file=sys.stderr)
        return 2
    try:
        _COMMANDS[arguments[0]]()
    except (DeadlineError, RequestError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
