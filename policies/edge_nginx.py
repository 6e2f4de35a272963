"""Ingress objects of ingress-nginx: annotations that do nothing, inject configuration, or contradict each other."""

import difflib
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import KubernetesObject
from policies.rules import About, Config, object_policy
from policies.values import UNKNOWN, fields, read, show, text

PREFIX = "nginx.ingress.kubernetes.io/"
_CONTROLLER = "k8s.io/ingress-nginx"
_CLASS = "nginx"
# Names that the controller's last releases (1.13 to 1.15) read. Older names that later releases dropped are left out:
# global-rate-limit*, influxdb*, opentracing*, secure-backends and the like have no effect any more.
_PLAIN = (
    "affinity affinity-canary-behavior affinity-mode allowlist-source-range app-root backend-protocol"
    " client-body-buffer-size connection-proxy-header custom-headers custom-http-errors default-backend"
    " denylist-source-range disable-proxy-intercept-errors enable-access-log enable-cors enable-global-auth"
    " enable-modsecurity enable-opentelemetry enable-owasp-core-rules enable-rewrite-log force-ssl-redirect"
    " from-to-www-redirect http2-push-preload load-balance modsecurity-transaction-id"
    " opentelemetry-operation-name opentelemetry-trust-incoming-span permanent-redirect permanent-redirect-code"
    " preserve-trailing-slash relative-redirects rewrite-target satisfy server-alias service-upstream"
    " ssl-ciphers ssl-passthrough ssl-prefer-server-ciphers ssl-redirect temporal-redirect temporal-redirect-code"
    " upstream-hash-by upstream-hash-by-subset upstream-hash-by-subset-size upstream-vhost use-port-in-redirects"
    " use-regex whitelist-source-range x-forwarded-prefix"
)
_FAMILIES = {
    "auth": "always-set-cookie cache-duration cache-key keepalive keepalive-requests keepalive-share-vars"
    " keepalive-timeout method proxy-set-headers realm request-redirect response-headers secret secret-type signin"
    " signin-redirect-param tls-error-page tls-match-cn tls-pass-certificate-to-upstream tls-secret"
    " tls-verify-client tls-verify-depth type url",
    "canary": "by-cookie by-header by-header-pattern by-header-value weight weight-total",
    "cors": "allow-credentials allow-headers allow-methods allow-origin expose-headers max-age",
    "limit": "allowlist burst-multiplier connections rate rate-after rpm rps whitelist",
    "mirror": "host request-body target",
    "proxy": "body-size buffer-size buffering buffers-number busy-buffers-size connect-timeout cookie-domain"
    " cookie-path http-version max-temp-file-size next-upstream next-upstream-timeout next-upstream-tries"
    " read-timeout redirect-from redirect-to request-buffering send-timeout ssl-ciphers ssl-name ssl-protocols"
    " ssl-secret ssl-server-name ssl-verify ssl-verify-depth",
    "session-cookie": "change-on-failure conditional-samesite-none domain expires max-age name path samesite secure",
}
SNIPPETS = frozenset(
    {"auth-snippet", "configuration-snippet", "modsecurity-snippet", "server-snippet", "stream-snippet"}
)
KNOWN = (
    frozenset(_PLAIN.split())
    | {f"{family}-{name}" for family, names in _FAMILIES.items() for name in names.split()}
    | {"canary"}
    | SNIPPETS
)


def annotations(subject: KubernetesObject) -> dict[str, object]:
    """Return the controller's annotations without their prefix."""
    found = fields(read(subject.props, "metadata", "annotations"))
    return {key.removeprefix(PREFIX): value for key, value in found.items() if key.startswith(PREFIX)}


def known_annotations() -> ResourceValidationPolicy:
    """The controller ignores a name that it does not know, without a word: a limit that is none."""
    about = About(
        name="ingress-known-annotations",
        display_name="Known Ingress annotations",
        description="Annotations of ingress-nginx have names that the controller reads, and do not cancel each other.",
        severity=Severity.HIGH,
        remediation="Use the controller's own names; let components/edge translate a limit.",
        tags=("edge",),
        pci="6.4.2",
        pci_text="An automated technical solution detects and prevents web-based attacks",
    )
    return object_policy(about, _check_known, frozenset({"Ingress"}))


_TRANSLATIONS = {"rate-limit": "limit-rpm or limit-rps", "rate-limit-window": "limit-rpm or limit-rps"}


def _check_known(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    present = annotations(subject)
    for name in present:
        if name not in KNOWN:
            close = difflib.get_close_matches(name, KNOWN, n=1)
            instead = _TRANSLATIONS.get(name) or (close[0] if close else "a name of its documentation")
            yield (
                f"annotation {PREFIX}{name} is unknown to ingress-nginx and has no effect. Allowed: names that the"
                f" controller reads. Fix: use {instead}, or remove it."
            )
    if "upstream-hash-by" in present and "load-balance" in present:
        yield (
            f"{PREFIX}upstream-hash-by overrides {PREFIX}load-balance, which has no effect. Allowed: one of the two."
            " Fix: remove the one that is not meant."
        )
    if "non_idempotent" in (text(present.get("proxy-next-upstream")) or "").split():
        yield (
            f"{PREFIX}proxy-next-upstream repeats requests that are not idempotent. Allowed: conditions without"
            " non_idempotent. Fix: remove it: a POST would be carried out twice."
        )


def no_snippets() -> ResourceValidationPolicy:
    """A snippet is configuration of the whole controller, written by whoever may write an Ingress."""
    about = About(
        name="ingress-no-snippets",
        display_name="No configuration snippets",
        description="No Ingress injects nginx configuration, and no controller is told to allow it.",
        severity=Severity.CRITICAL,
        remediation="Express the wish by annotations or in the controller's ConfigMap.",
        tags=("edge",),
        pci="2.2.4",
        pci_text="Only necessary functions are enabled, all others are removed or disabled",
    )
    return object_policy(about, _check_snippets, frozenset({"Ingress", "ConfigMap"}))


def _check_snippets(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    if subject.kind == "ConfigMap":
        if read(subject.props, "data", "allow-snippet-annotations") == "true":
            yield "allows snippet annotations. Allowed: 'false'. Fix: set allow-snippet-annotations to 'false'."
        return
    for name in sorted(SNIPPETS & annotations(subject).keys()):
        yield f"annotation {PREFIX}{name} injects configuration. Allowed: no snippet. Fix: remove it."


def maintained_controller() -> ResourceValidationPolicy:
    """Nobody mends ingress-nginx since March 2026; what stands in the internet has to be mended."""
    about = About(
        name="ingress-controller-maintained",
        display_name="Maintained ingress controller",
        description="What faces the internet is maintained: ingress-nginx is not, since March 2026.",
        severity=Severity.CRITICAL,
        remediation="Use the Gateway API form (edge.renderer: gateway).",
        tags=("edge",),
        pci="6.3.3",
        pci_text="System components are protected from known vulnerabilities by installing security patches",
        schema=PolicyConfigSchema(properties={"required": {"type": "boolean", "default": True}}),
    )
    return object_policy(about, _check_maintained, frozenset({"Ingress", "IngressClass"}))


def _check_maintained(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if read(config, "required") is not True:
        return
    if subject.kind == "IngressClass":
        retired = read(subject.props, "spec", "controller") == _CONTROLLER
    else:
        chosen = read(subject.props, "spec", "ingressClassName")
        named = chosen if chosen is not None else read(subject.props, "metadata", "annotations", _LEGACY_CLASS)
        retired = named is not UNKNOWN and (named == _CLASS or bool(annotations(subject)))
    if retired:
        yield (
            f"is served by ingress-nginx, which ended in March 2026. Allowed: a controller that gets security fixes."
            f" Fix: declare it with the Gateway API instead of {show(_CLASS)}."
        )


_LEGACY_CLASS = "kubernetes.io/ingress.class"


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [known_annotations(), no_snippets(), maintained_controller()]
