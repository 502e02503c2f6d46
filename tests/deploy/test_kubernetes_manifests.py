"""deploy/kubernetes: valid for the versions that are in use, and what an operator expects of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tsa_core.config import load_settings

from .packages import import_package

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
yaml = import_package("yaml", install="PyYAML")
kubernetes_validate = import_package("kubernetes_validate", install="kubernetes-validate")

SCHEMALESS = {"Kustomization", "ServiceMonitor"}
"""Kinds of kustomize and of the Prometheus operator, which Kubernetes' own schemas lack."""

Manifest = dict[str, Any]


def load(name: str) -> Manifest:
    document: Manifest = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return document


KUSTOMIZATION = load("kustomization.yaml")
MANIFESTS = {name: load(name) for name in KUSTOMIZATION["resources"]}


def by_kind(kind: str) -> Manifest:
    [found] = [manifest for manifest in MANIFESTS.values() if manifest["kind"] == kind]
    return found


def pod() -> Manifest:
    template: Manifest = by_kind("Deployment")["spec"]["template"]
    return template


def container() -> Manifest:
    [only] = pod()["spec"]["containers"]
    return dict(only)


def test_kustomization_names_every_manifest() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


@pytest.mark.parametrize("version", ["1.29", "1.33", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_the_schema(name: str, version: str) -> None:
    if MANIFESTS[name]["kind"] in SCHEMALESS:
        assert MANIFESTS[name]["apiVersion"] == "monitoring.coreos.com/v1"
        return
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_schema_check_finds_a_misspelt_field() -> None:
    wrong = {**by_kind("Service"), "spec": {**by_kind("Service")["spec"], "selektor": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_pod_meets_the_restricted_standard() -> None:
    """Of the pod security standards, which the namespace enforces."""
    assert by_kind("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod()["spec"]["securityContext"]["runAsUser"] > 0
    assert pod()["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = container()["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {frozenset(volume) - {"name"} for volume in pod()["spec"]["volumes"]} == {
        frozenset({"configMap"}),
        frozenset({"secret"}),
        frozenset({"emptyDir"}),
    }
    assert pod()["spec"]["automountServiceAccountToken"] is False


def test_user_is_the_images() -> None:
    text = (FOLDER.parent / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {pod()['spec']['securityContext']['runAsUser']}:" in text


def test_probes_ask_what_they_should() -> None:
    """A wrong clock or a KMS that is down takes a pod out of rotation; it does not restart it."""
    assert container()["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container()["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert 'start = "wait"' in (FOLDER / "tsa.toml").read_text(encoding="utf-8")
    assert container()["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_configuration_is_one_that_the_server_reads(tmp_path: Path) -> None:
    """The secret's files are not opened for that, but the password is: it is put where the file says."""
    text = (FOLDER / "tsa.toml").read_text(encoding="utf-8")
    assert text.count("/secrets/") == 3
    (tmp_path / "key.password").write_text("secret")
    (tmp_path / "tsa.toml").write_text(text.replace("/secrets/", f"{tmp_path}/"))
    settings = load_settings(tmp_path / "tsa.toml", environ={})
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert (settings.server.host, settings.server.port) == (["0.0.0.0"], ports["http"])
    assert (settings.metrics.host, settings.metrics.port) == ("0.0.0.0", ports["metrics"])
    assert settings.server.watch
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert mounts["signer"]["mountPath"] == "/secrets"
    assert all(mounts[name]["readOnly"] for name in ("signer", "config"))
    assert container()["args"][-1] == f"{mounts['config']['mountPath']}/tsa.toml"
    assert KUSTOMIZATION["configMapGenerator"][0]["files"] == ["tsa.toml"]
    pause = 5  # the preStop hook's
    grace = pod()["spec"]["terminationGracePeriodSeconds"]
    assert grace > settings.server.graceful_timeout.total_seconds() + pause


def test_labels_lead_to_the_pods() -> None:
    labels = pod()["metadata"]["labels"].items()
    assert by_kind("Deployment")["spec"]["selector"]["matchLabels"].items() <= labels
    assert by_kind("Service")["spec"]["selector"].items() <= labels
    assert by_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert by_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert by_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "tsa"
    monitor = by_kind("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= by_kind("Service")["metadata"]["labels"].items()
    ports = {port["name"] for port in by_kind("Service")["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports
    assert {port["targetPort"] for port in by_kind("Service")["spec"]["ports"]} == {
        port["name"] for port in container()["ports"]
    }


def test_disruptions_leave_a_pod() -> None:
    assert by_kind("PodDisruptionBudget")["spec"]["minAvailable"] >= 1
    assert by_kind("HorizontalPodAutoscaler")["spec"]["minReplicas"] > 1
    assert by_kind("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_no_secret_is_in_a_manifest() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in MANIFESTS.values()}
    assert "env" not in container()
