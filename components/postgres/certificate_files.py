"""The script that makes a server read a certificate again when its Secret holds a new one."""

from components.postgres.model import CONFIG_PATH, TLS_PATH

CERTIFICATES_FILE = "certificates.sh"
WATCH_CERTIFICATES = f"sh {CONFIG_PATH}/{CERTIFICATES_FILE} $$ &"
"""Before the ``exec`` of a start script: the server takes over the shell's process id."""
_PERIOD_SECONDS = 60


def certificates_script() -> str:
    """Patroni and PgBouncer read the file at SIGHUP only: one that was renewed in time would still run out."""
    return f"""\
#!/bin/sh
# PID [SECONDS]: SIGHUP to that process whenever the certificate is another one; looks every so many seconds.
set -eu
sum() {{ cksum <{TLS_PATH}/tls.crt; }}
before=$(sum)
while sleep "${{2:-{_PERIOD_SECONDS}}}"; do
  now=$(sum) || continue
  if [ "$now" != "$before" ]; then
    before=$now
    kill -HUP "$1"
  fi
done
"""
