"""deploy/helm/tsa: rendered and linted by Helm itself, and its arguments started."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from prometheus_client import CollectorRegistry

from tests.interop.builds import BuildFailed, NoToolchain, built, not_on_this_machine
from tsa_backends.commands import run_command
from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_core.metrics.families import Families
from tsa_core.testing import Pki, ServerProcess, encode_request, missing

from .packages import import_package

yaml = import_package("yaml", install="PyYAML")
kubernetes_validate = import_package("kubernetes_validate", install="kubernetes-validate")

pytestmark = pytest.mark.timeout(900)  # Helm's first build

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "tsa"
SCHEMALESS = {"PodMonitor", "PrometheusRule", "BackendConfig", "FrontendConfig"}
"""Kinds of the Prometheus operator and of GKE, which Kubernetes' own schemas lack."""
CHAIN = "what a PEM file would say\n"

Values = dict[str, Any]
Manifest = dict[str, Any]

TINK = {"args": {"cert_chain": CHAIN, "tink_enc_keyset": "{}", "tink_key_resource": "hcvault://vault/keys/kek"}}
KMS = {"args": {"signer": "kms", "cert_chain": CHAIN, "kms_key_resource": "hashivault://tsa"}}
EVERYTHING: Values = {
    "args": {"signer": "memory", "extra": ["--max-request-body-size=4096"]},
    "config": "[server]\ngraceful_timeout = '5s'\n",
    "env": {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/tsa-config/cloud_credentials"},
    "logging": {"production": True},
    "podAnnotations": {"example.org/team": "time"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "ingress": {
        "http": {
            "className": "gce",
            "backendConfigSpec": {"healthCheck": {"type": "HTTP", "requestPath": "/readyz"}},
            "frontendConfigSpec": {"redirectToHttps": {"enabled": True}},
            "tls": [{"hosts": ["timestamp.localhost"], "secretName": "tls"}],
        }
    },
    **{
        name: {"enabled": True}
        for name in ("autoscaling", "podDisruptionBudget", "networkPolicy", "podMonitor", "prometheusRule")
    },
    "grafanaDashboard": {"enabled": True},
}
SIGSTORE_VALUES: Values = {
    "namespace": {"create": True, "name": "tsa-system"},
    "forceNamespace": "elsewhere",
    "server": {
        "replicaCount": 2,
        "name": "server",
        "svcPort": 80,
        "grpcSvcPort": 5554,
        "secret": "tsa-server-secret",
        "logging": {"production": True},
        "env": {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/tsa-config/cloud_credentials"},
        "image": {
            "registry": "registry.example.org",
            "repository": "tsa-core",
            "pullPolicy": "IfNotPresent",
            "version": "sha256:" + "ab" * 32,
        },
        "args": {
            "port": 5555,
            "signer": "tink",
            "cert_chain": CHAIN,
            "tink_enc_keyset": "keyset",
            "tink_key_resource": "hcvault://vault.example.org/keys/kek",
            "tink_hcvault_token": "s.very-secret",
            "kms_key_resource": "resource",
        },
        "serviceAccount": {"create": True, "name": "", "annotations": {}, "mountToken": True},
        "service": {
            "type": "ClusterIP",
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 5555},
                {"name": "metrics", "port": 2112, "protocol": "TCP", "targetPort": 2112},
            ],
        },
        "ingress": {
            "http": {
                "enabled": True,
                "className": "nginx",
                "annotations": {},
                "hosts": [{"path": "/", "host": "timestamp.localhost"}],
                "tls": [],
            }
        },
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65533},
    },
}
"""Every value that Sigstore's chart documents, as its users write them."""


class Helm:
    """The program, and what it makes of the chart."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._home = home
        self._calls = 0

    def run(self, command: str, values: Values, *more: str) -> subprocess.CompletedProcess[str]:
        """Run `helm COMMAND` on the chart with values; no cluster is asked, so it is told the cluster's version."""
        self._calls += 1
        file = self._home / f"values-{self._calls}.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        name = ["release"] if command == "template" else []
        environ = {f"HELM_{each}_HOME": str(self._home) for each in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [self._program, command, *name, CHART, "--values", file, "--kube-version", "v1.29.0", *more],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self._home), **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def render(self, values: Values, *more: str) -> list[Manifest]:
        """Return the manifests."""
        done = self.run("template", values, *more)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(built("helm") / "helm", tmp_path_factory.mktemp("helm"))
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


def by_kind(manifests: list[Manifest], kind: str) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pod(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = by_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def arguments(manifests: list[Manifest]) -> list[str]:
    [container] = pod(manifests)["containers"]
    return [str(argument) for argument in container["args"]]


@pytest.mark.parametrize(
    "server",
    [TINK, KMS, {"args": {"signer": "file"}}, {"args": {"signer": "memory"}}, EVERYTHING],
    ids=["tink", "kms", "file", "memory", "everything"],
)
def test_what_is_rendered_is_linted_and_fits_the_schemas(helm: Helm, server: Values) -> None:
    linted = helm.run("lint", {"server": server}, "--strict")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    manifests = helm.render({"server": server})
    for manifest in manifests:
        if manifest["kind"] in SCHEMALESS:
            continue
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(manifest, version, strict=True)
    labels = by_kind(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert by_kind(manifests, "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    assert by_kind(manifests, "Service")["spec"]["selector"].items() <= labels
    assert by_kind(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] == {
        "name": by_kind(manifests, "Service")["metadata"]["name"],
        "port": {"number": by_kind(manifests, "Service")["spec"]["ports"][0]["port"]},
    }


def test_everything_can_be_switched_on(helm: Helm) -> None:
    plain = {manifest["kind"] for manifest in helm.render({"server": {"args": {"signer": "memory"}}})}
    full = {manifest["kind"] for manifest in helm.render({"server": EVERYTHING, "namespace": {"create": True}})}
    assert plain == {"ServiceAccount", "ConfigMap", "Service", "Deployment", "Ingress"}
    assert full - plain == {
        "Namespace", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "PrometheusRule",
        "BackendConfig", "FrontendConfig",
    }  # fmt: skip


def test_every_value_of_sigstores_chart_is_taken_and_means_the_same(helm: Helm) -> None:
    manifests = helm.render(SIGSTORE_VALUES)
    deployment = by_kind(manifests, "Deployment")
    assert deployment["metadata"]["name"] == "release-tsa-server"
    assert {each["metadata"].get("namespace") for each in manifests if each["kind"] != "Namespace"} == {"elsewhere"}
    assert by_kind(manifests, "Namespace")["metadata"]["name"] == "tsa-system"
    assert deployment["spec"]["replicas"] == 2
    [container] = pod(manifests)["containers"]
    assert container["image"] == f"registry.example.org/tsa-core@sha256:{'ab' * 32}"
    assert pod(manifests)["securityContext"]["runAsUser"] == 65533
    assert pod(manifests)["automountServiceAccountToken"] is True
    assert {
        "--port=5555",
        "--timestamp-signer=tink",
        "--tink-key-resource=hcvault://vault.example.org/keys/kek",
        "--tink-keyset-path=/etc/tsa-config/tink.keyset.enc",
        "--certificate-chain-path=/etc/tsa-config/chain.pem",
        "--log-type=prod",
    } <= set(arguments(manifests))
    configuration = by_kind(manifests, "ConfigMap")["data"]
    assert configuration == {"chain.pem": CHAIN, "tink.keyset.enc": "keyset"}
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["GOOGLE_APPLICATION_CREDENTIALS"] == "/etc/tsa-config/cloud_credentials"


def test_a_token_for_vault_is_in_a_secret_and_nowhere_else(helm: Helm) -> None:
    manifests = helm.render(SIGSTORE_VALUES)
    secret = by_kind(manifests, "Secret")
    assert secret["stringData"] == {"token": "s.very-secret"}
    manifests.remove(secret)
    assert "s.very-secret" not in json.dumps(manifests)
    [container] = pod(manifests)["containers"]
    [token] = [each for each in container["env"] if each["name"] == "VAULT_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": secret["metadata"]["name"], "key": "token"}


def test_pods_meet_the_restricted_standard(helm: Helm) -> None:
    """Of the pod security standards."""
    manifests = helm.render({"server": {"args": {"signer": "file"}}})
    context = pod(manifests)["securityContext"]
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    [container] = pod(manifests)["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {next(iter(set(volume) - {"name"})) for volume in pod(manifests)["volumes"]} == {
        "configMap",
        "emptyDir",
        "secret",
    }
    image = (CHART.parents[1] / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {context['runAsUser']}:" in image


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"server": {"args": {"signer": "kms", "cert_chain": CHAIN}}}, "kms_key_resource: the key's URI is needed"),
        ({"server": {"args": {"signer": "kms", "kms_key_resource": "hashivault://k"}}}, "needs the certificate chain"),
        ({"server": {"args": {**TINK["args"], "tink_enc_keyset": ""}}}, "the encrypted keyset is needed"),
        ({"server": {"args": {"signer": "hsm"}}}, "server.args.signer|/server/args/signer"),
        ({"server": {"args": {"sinner": "file"}}}, "sinner"),
        ({"sever": {}}, "sever"),
    ],
)
def test_what_is_missing_or_misspelt_is_named(helm: Helm, values: Values, message: str) -> None:
    done = helm.run("template", values)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr


def start(manifests: list[Manifest], folders: Mapping[str, Path], environ: Mapping[str, str]) -> str:
    """Start the container's arguments with its folders where they are here, ask for a token, return the arguments."""
    flags = arguments(manifests)
    assert flags.pop(0) == "serve"
    text = "\n".join(flags)
    for inside, outside in folders.items():
        text = text.replace(f"={inside}/", f"={outside}/")
    text = text.replace("--host=0.0.0.0", "--host=127.0.0.1")
    text = re.sub("--port=.*", "--port=0", text)
    assert "=/etc/" not in text
    assert "=/var/" not in text
    environ = {"TSA_METRICS__HOST": "127.0.0.1", "TSA_METRICS__PORT": "0", **environ}
    with ServerProcess(None, *text.splitlines(), environ=environ) as server:
        assert server.stamp(encode_request(b"the document")).status == 200
    return text


@pytest.mark.plugin("memory")
def test_the_arguments_for_the_memory_signer_start(helm: Helm, tmp_path: Path) -> None:
    manifests = helm.render({"server": {**EVERYTHING, "grafanaDashboard": {"enabled": False}}})
    (tmp_path / "tsa.toml").write_text(by_kind(manifests, "ConfigMap")["data"]["tsa.toml"], encoding="utf-8")
    assert "--max-request-body-size=4096" in start(manifests, {"/etc/tsa-config": tmp_path}, {})


@pytest.mark.plugin("file")
def test_the_arguments_for_the_file_signer_start_with_the_secret_that_init_writes(helm: Helm, tmp_path: Path) -> None:
    made = run_command("init", tmp_path / "tsa", "--org", "Example", "--kubernetes-secret", "tsa-server-secret")
    assert made.returncode == 0, made.stderr
    secret = yaml.safe_load((tmp_path / "tsa" / "secret.yaml").read_text(encoding="utf-8"))
    kubernetes_validate.validate(secret, kubernetes_validate.latest_version(), strict=True)
    manifests = helm.render({"server": {"args": {"signer": "file"}}})
    [volume] = [each["secret"] for each in pod(manifests)["volumes"] if "secret" in each]
    assert volume["secretName"] == secret["metadata"]["name"]
    (tmp_path / "mounted").mkdir()
    for item in volume["items"]:
        (tmp_path / "mounted" / item["path"]).write_text(secret["stringData"][item["key"]], encoding="utf-8")
        (tmp_path / "mounted" / item["path"]).chmod(volume["defaultMode"])
    [container] = pod(manifests)["containers"]
    environ = {
        each["name"]: secret["stringData"][each["valueFrom"]["secretKeyRef"]["key"]]
        for each in container["env"]
        if "valueFrom" in each
    }
    assert set(environ) == {"TSA_SIGNER__FILE__PASSWORD"}
    start(manifests, {"/var/run/tsa-secrets": tmp_path / "mounted"}, environ)


@pytest.mark.plugin("hashivault")
def test_the_arguments_for_a_kms_start(helm: Helm, tmp_path: Path, openbao: OpenBao) -> None:
    name = openbao.make_key("helm-chart")
    [version] = openbao.call("GET", f"transit/keys/{name}")["keys"].values()
    chain = tmp_path / "chain.pem"
    key = load_pem_public_key(version["public_key"].encode())
    assert isinstance(key, EllipticCurvePublicKey)
    Pki().write_chain(chain, key)
    args = {
        "signer": "kms",
        "kms_key_resource": f"hashivault://{name}",
        "cert_chain": chain.read_text(encoding="ascii"),
    }
    manifests = helm.render({"server": {"args": args}})
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "chain.pem").write_text(by_kind(manifests, "ConfigMap")["data"]["chain.pem"])
    start(
        manifests,
        {"/etc/tsa-config": tmp_path / "config"},
        {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": ROOT_TOKEN},
    )


def test_rules_and_dashboard_ask_for_metrics_that_there_are(helm: Helm) -> None:
    manifests = helm.render({"server": EVERYTHING})
    registry = CollectorRegistry()
    Families(registry)
    known = {sample for family in registry.collect() for sample in (family.name, f"{family.name}_total")}
    rules = by_kind(manifests, "PrometheusRule")["spec"]["groups"][0]["rules"]
    [dashboard] = [each for each in manifests if each["metadata"]["name"].endswith("-dashboard")]
    panels = json.loads(dashboard["data"]["tsa.json"])["panels"]
    expressions = [rule["expr"] for rule in rules] + [each["expr"] for panel in panels for each in panel["targets"]]
    asked = {name for text in expressions for name in re.findall(r"timestamp_authority_\w+", text)}
    assert len(asked) > 8
    assert {name.removesuffix("_bucket") for name in asked} <= known
    assert "{{ $labels.pod }}" in rules[0]["annotations"]["summary"]
