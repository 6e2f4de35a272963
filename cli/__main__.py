"""``python -m cli``, which the script ``payctl`` runs."""

from cli.main import cli

cli(prog_name="payctl")
