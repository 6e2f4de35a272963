"""The program: settings → provider → platform → exports."""

from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi.runtime.config import is_config_secret

from components.platform import Platform, PlatformArgs, secret_keys
from settings import SettingsError, load
from settings.ledger_file import require_agreement

config = pulumi.Config("payments")
if is_config_secret("payments:platform"):
    # A value encrypted inside it would arrive as plain text here and end in a ConfigMap.
    raise pulumi.RunError(
        f"Pulumi.{pulumi.get_stack()}.yaml: payments:platform holds an encrypted value; allowed: plain settings; "
        "fix: store it under a key of its own (pulumi config set --secret) and refer to it by services.*.secrets"
    )
try:
    source = f"Pulumi.{pulumi.get_stack()}.yaml"
    settings = load(config.get_object("platform"), source=source)
    require_agreement(settings, folder=Path(__file__).parent, stack=pulumi.get_stack(), source=source)
except SettingsError as error:
    raise pulumi.RunError(str(error)) from None

provider = kubernetes.Provider(
    "kubernetes",
    kubeconfig=settings.cluster.kubeconfig,
    context=settings.cluster.kube_context,
    # A changed Secret is updated in place: the files that pods mount from it follow without a restart.
    enable_secret_mutable=True,
)
platform = Platform(
    "payments",
    PlatformArgs(settings=settings, secrets={key: config.require_secret(key) for key in secret_keys(settings)}),
    pulumi.ResourceOptions(providers=[provider]),
)
pulumi.export("environment", str(settings.environment))
pulumi.export("namespace", platform.namespace)
pulumi.export("endpoints", platform.endpoints)
