"""The scripts of a restore: one that tries the newest backup, one that takes a shard back to a moment."""

from components.postgres.model import CONFIG_PATH, DATA_DIRECTORY, DatabaseContext

RESTORE_CONFIG = f"{CONFIG_PATH}/restore.conf"
TARGET_VARIABLE = "RESTORE_TARGET"
# Nobody but this pod reaches the server, nobody waits for a replica, and it fits into a Job's memory.
_ALONE = (
    "-c listen_addresses= -c unix_socket_directories=/tmp -c ssl=off -c hot_standby=off -c shared_buffers=128MB "
    "-c synchronous_standby_names="
)
_PSQL = "psql --host=/tmp --dbname=postgres --no-psqlrc --set=ON_ERROR_STOP=1 -Atc"
_RECOVERED = f"""\
until [ "$({_PSQL} 'SELECT pg_is_in_recovery()')" = f ]; do sleep 1; done
{_PSQL} "SELECT 'last transaction: ' || pg_last_xact_replay_timestamp()"
"""


def restore_test_script(context: DatabaseContext, shard: str) -> str:
    """Restores the newest backup with all of its log, starts a server on a socket only, and reads every row.

    Reading verifies the checksums of all pages. The server's log says up to which transaction it came.
    """
    return f"""\
#!/bin/sh
set -eu
{_pgbackrest(context, shard)} --archive-mode=off restore
# Recovery asks the store for the log that follows; its settings point at the members' configuration.
echo "restore_command = '{_pgbackrest(context, shard)} archive-get %f \\"%p\\"'" \\
  >>{DATA_DIRECTORY}/postgresql.auto.conf
{_start(context, f"{_ALONE} -c archive_mode=off")}
{_RECOVERED}\
{_programs(context)}/pg_dumpall --host=/tmp --no-role-passwords >/dev/null
{_stop(context)}
echo "restore test: every row was read"
"""


def restore_in_place_script(context: DatabaseContext, shard: str) -> str:
    """Makes a member's data folder what it was at ``RESTORE_TARGET``, and ends the recovery before Patroni sees it.

    Patroni knows no target: a folder that still recovers it would take through the log to its end, the mistake
    included. The new timeline's history is in the store before the server stops, so that no later recovery gives the
    same number to another one.
    """
    archive = f"{_pgbackrest(context, shard)} archive-push %p"
    return f"""\
#!/bin/sh
set -eu
{_pgbackrest(context, shard)} --delta --type=time --target="${TARGET_VARIABLE}" --target-action=promote restore
{_start(context, f'{_ALONE} -c archive_mode=on -c archive_command="{archive}"')}
{_RECOVERED}\
for setting in restore_command recovery_target_time recovery_target_action; do
  {_PSQL} "ALTER SYSTEM RESET $setting"
done
segment=$({_PSQL} 'SELECT pg_walfile_name(pg_switch_wal())')
archived="SELECT last_archived_wal COLLATE \\"C\\" >= '$segment' FROM pg_stat_archiver"
until [ "$({_PSQL} "$archived")" = t ]; do sleep 1; done
{_stop(context)}
echo "restore in place: as at ${TARGET_VARIABLE}; the log goes on after $segment"
"""  # noqa: S608 # constants of this package


def _pgbackrest(context: DatabaseContext, shard: str) -> str:
    return f"pgbackrest --config={RESTORE_CONFIG} --stanza={context.scope(shard)}"


def _programs(context: DatabaseContext) -> str:
    return f"/usr/lib/postgresql/{context.postgres.version}/bin"


def _start(context: DatabaseContext, options: str) -> str:
    return f"{_programs(context)}/pg_ctl --pgdata={DATA_DIRECTORY} --wait --timeout=14400 --options='{options}' start"


def _stop(context: DatabaseContext) -> str:
    return f"{_programs(context)}/pg_ctl --pgdata={DATA_DIRECTORY} --mode=fast --wait stop"
