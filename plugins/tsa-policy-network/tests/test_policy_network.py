"""The selector by network: rules, refusals, addresses of both versions, and proxies that lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tsa_core.api import ConfigError, PKIFailureInfo, PolicySelector, ProfileSummary, RequestRejected
from tsa_core.testing import PolicySelectorContract, ProviderContract, sample_context, sample_request
from tsa_policy_network import plugin as network_plugin
from tsa_policy_network.client_address import MAX_HOPS, find_client, parse_address
from tsa_policy_network.options import NetworkOptions

PROFILES = (
    ProfileSummary(name="default", policies=("1.2.1",)),
    ProfileSummary(name="internal", policies=("1.2.2",)),
    ProfileSummary(name="archive", policies=("1.2.2", "1.2.3")),
)


def select(
    options: Mapping[str, Any], address: str, *, policy: str | None = None, profile: str | None = None, **headers: str
) -> str | None:
    [provider] = network_plugin.tsa_policy_selectors()
    selector: PolicySelector = provider.open(NetworkOptions.model_validate(options))
    selector.bind(PROFILES)
    return selector.select(sample_request(policy=policy), sample_context(address=address, profile=profile, **headers))


def rule(*networks: str, **consequence: Any) -> dict[str, Any]:
    return {"networks": list(networks), **consequence}


class TestNetworkProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return network_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {
            "rules": [rule("10.0.0.0/8", "2001:db8::/32", profiles=["other"]), rule("192.0.2.0/24", refuse=True)],
            "trusted_proxies": ["127.0.0.1"],
        }


class TestNetworkSelector(PolicySelectorContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return network_plugin

    @pytest.fixture(params=["next", "refuse"])
    def options(self, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        rules = [rule("10.0.0.0/8", "2001:db8::/32", profiles=["other"]), rule("192.0.2.0/24", refuse=True)]
        return {"rules": rules, "trusted_proxies": ["127.0.0.1"], "otherwise": request.param}


# -- rules ----------------------------------------------------------------------------------------------------------

INTERNAL = {"rules": [rule("10.0.0.0/8", "2001:db8:20::/48", profiles=["internal"])]}


@pytest.mark.parametrize("address", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "2001:db8:20:1::9"])
def test_client_in_the_network_gets_its_profile(address: str) -> None:
    assert select(INTERNAL, address) == "internal"


@pytest.mark.parametrize("address", ["9.255.255.255", "11.0.0.0", "2001:db8:21::1", "::ffff:11.0.0.0"])
def test_client_elsewhere_is_left_to_the_next_selector(address: str) -> None:
    assert select(INTERNAL, address) is None


def test_network_that_is_written_mapped_is_ipv4() -> None:
    options = {"rules": [rule("::ffff:10.0.0.0/104", profiles=["internal"])]}
    assert select(options, "10.9.9.9") == select(options, "::ffff:10.9.9.9") == "internal"
    assert select(options, "11.0.0.1") is None


def test_scope_of_a_link_local_address_does_not_matter() -> None:
    assert select({"rules": [rule("fe80::/10", profiles=["internal"])]}, "fe80::1%eth0") == "internal"


def test_first_rule_that_matches_counts() -> None:
    options = {"rules": [rule("10.6.6.6", refuse=True), rule("10.0.0.0/8", profiles=["internal"])]}
    assert select(options, "10.6.6.7") == "internal"
    with pytest.raises(RequestRejected):
        select(options, "10.6.6.6")


def test_rule_without_consequence_asks_the_next_selector() -> None:
    options = {"rules": [rule("10.0.0.0/8")], "otherwise": "refuse"}
    assert select(options, "10.1.1.1") is None
    with pytest.raises(RequestRejected):
        select(options, "192.0.2.1")


def test_refusal_says_what_to_do_and_nothing_of_the_rules() -> None:
    with pytest.raises(RequestRejected) as caught:
        select({"rules": [rule("192.0.2.0/24", refuse=True)]}, "192.0.2.1")
    assert caught.value.failure is PKIFailureInfo.BAD_REQUEST
    assert caught.value.text == (
        "requests from your network are not accepted here; ask the operator of this service for access"
    )


def test_refusal_can_be_worded() -> None:
    with pytest.raises(RequestRejected, match="use the VPN"):
        select({"rules": [rule("192.0.2.0/24", refuse=True)], "refusal": "use the VPN"}, "192.0.2.1")


def test_requested_policy_chooses_among_the_profiles_of_the_rule() -> None:
    options = {"rules": [rule("10.0.0.0/8", profiles=["default", "archive"])]}
    assert select(options, "10.1.1.1") == "default"
    assert select(options, "10.1.1.1", policy="1.2.3") == "archive"
    # internal lists this policy too, but is not this network's.
    assert select(options, "10.1.1.1", policy="1.2.2") == "archive"
    assert select(options, "10.1.1.1", policy="1.9.9") == "default"


def test_profile_in_the_url_is_fenced_by_the_rule() -> None:
    options = {"rules": [rule("10.0.0.0/8", profiles=["default", "archive"])]}
    assert select(options, "10.1.1.1", profile="archive") == "default"
    with pytest.raises(RequestRejected, match="not offered to your network; use one of: default, archive"):
        select(options, "10.1.1.1", profile="internal")


# -- proxies --------------------------------------------------------------------------------------------------------

PROXIED = {**INTERNAL, "trusted_proxies": ["192.0.2.5", "192.0.2.6", "fd00::/8"]}


@pytest.mark.parametrize(
    "header",
    [
        "10.1.2.3",
        "10.1.2.3:54321",
        "[2001:db8:20::1]",
        "[2001:db8:20::1]:443",
        "2001:db8:20::1",
        "::ffff:10.1.2.3",
        "203.0.113.9, 10.1.2.3",
        "garbage, 10.1.2.3",
        "10.1.2.3, 192.0.2.6",
        "  10.1.2.3 ,fd00::7 , 192.0.2.6 ",
    ],
)
def test_trusted_proxy_tells_the_client(header: str) -> None:
    assert select(PROXIED, "192.0.2.5", x_forwarded_for=header) == "internal"
    assert select(PROXIED, "::ffff:192.0.2.5", x_forwarded_for=header) == "internal"


@pytest.mark.parametrize(
    ("peer", "header"),
    [
        ("203.0.113.9", "10.1.2.3"),  # no proxy of ours
        ("192.0.2.5", "10.1.2.3, 203.0.113.9"),  # the client wrote the first part
        ("192.0.2.5", "10.1.2.3, 203.0.113.9, 192.0.2.6"),
    ],
)
def test_header_that_must_not_be_believed(peer: str, header: str) -> None:
    assert select(PROXIED, peer, x_forwarded_for=header) is None


UNKNOWN = pytest.mark.parametrize(
    ("peer", "header"),
    [
        ("192.0.2.5", None),
        ("192.0.2.5", "10.1.2.3, "),
        ("192.0.2.5", "10.1.2.3, unknown"),
        ("192.0.2.5", "10.1.2.3, 192.0.2.6, _hidden"),
        ("192.0.2.5", ""),
        ("192.0.2.5", "[10.1.2.3"),
        ("192.0.2.5", "10.1.2.3:port"),
        ("192.0.2.5", "010.1.2.3"),
        ("192.0.2.5", "unix:"),  # nginx says so of the clients of its own Unix sockets
        ("unix", "10.1.2.3"),
        ("", "10.1.2.3"),  # gunicorn and uWSGI say so of a Unix socket
        ("localhost", "10.1.2.3"),  # waitress-serve
        ("garbage", "10.1.2.3"),
    ],
)


def headers(header: str | None) -> dict[str, str]:
    return {} if header is None else {"x_forwarded_for": header}


@UNKNOWN
@pytest.mark.parametrize("otherwise", ["next", "refuse"])
def test_client_whose_network_cannot_be_known_is_refused(peer: str, header: str | None, otherwise: str) -> None:
    """A rule that refuses could be meant for it, so `otherwise` does not count."""
    with pytest.raises(RequestRejected):
        select({**PROXIED, "otherwise": otherwise}, peer, **headers(header))


@UNKNOWN
def test_operator_is_told_why_once(peer: str, header: str | None, caplog: pytest.LogCaptureFixture) -> None:
    [provider] = network_plugin.tsa_policy_selectors()
    selector = provider.open(NetworkOptions.model_validate(PROXIED))
    selector.bind(PROFILES)
    for _ in range(3):
        with pytest.raises(RequestRejected):
            selector.select(sample_request(), sample_context(address=peer, **headers(header)))
    [record] = caplog.records
    assert "policy.network: requests are refused that come" in record.getMessage()
    assert ("Unix socket" in record.getMessage()) == (peer in {"unix", "", "localhost"})


@pytest.mark.parametrize("peer", ["unix", "", "localhost"])
def test_proxy_at_a_unix_socket_is_believed_when_it_is_trusted(peer: str) -> None:
    options = {**INTERNAL, "trusted_proxies": ["unix"]}
    assert select(options, peer, x_forwarded_for="10.1.2.3") == "internal"
    assert select(options, peer, x_forwarded_for="11.1.2.3") is None
    assert select(options, "203.0.113.9", x_forwarded_for="10.1.2.3") is None
    with pytest.raises(RequestRejected):
        select(options, peer)


@pytest.mark.parametrize("peer", ["unix", "", "localhost"])
def test_rule_can_be_for_clients_of_a_unix_socket(peer: str) -> None:
    options = {"rules": [rule("unix", "10.0.0.0/8", profiles=["internal"])], "otherwise": "refuse"}
    assert select(options, peer) == select(options, "10.1.1.1") == "internal"
    with pytest.raises(RequestRejected):
        select(options, "127.0.0.1")
    elsewhere = {"rules": [rule("unix", profiles=["internal"]), rule("10.0.0.0/8", profiles=["default"])]}
    assert select(elsewhere, peer) == "internal"
    assert select(elsewhere, "192.0.2.1") is None


def test_header_is_ignored_when_no_proxy_is_trusted() -> None:
    assert select(INTERNAL, "203.0.113.9", x_forwarded_for="10.1.2.3") is None
    assert select(INTERNAL, "10.1.2.3", x_forwarded_for="203.0.113.9") == "internal"


def test_trusted_proxy_without_the_header_lets_nobody_in() -> None:
    options = {"rules": [rule("192.0.2.0/24", profiles=["internal"])], "trusted_proxies": ["192.0.2.5"]}
    assert select(options, "192.0.2.7") == "internal"
    with pytest.raises(RequestRejected):
        select(options, "192.0.2.5")


def test_request_of_a_trusted_proxy_itself() -> None:
    options = {"rules": [rule("192.0.2.6", profiles=["internal"])], "trusted_proxies": ["192.0.2.5", "192.0.2.6"]}
    assert select(options, "192.0.2.5", x_forwarded_for="192.0.2.6") == "internal"


def test_endless_header_is_not_read_to_its_end() -> None:
    proxies = ",".join(["192.0.2.6"] * (MAX_HOPS - 1))
    assert select(PROXIED, "192.0.2.5", x_forwarded_for=f"10.1.2.3,{proxies}") == "internal"
    for endless in (f"10.1.2.3,192.0.2.6,{proxies}", "10.1.2.3," * 100_000 + "192.0.2.6," + proxies):
        with pytest.raises(RequestRejected):
            select(PROXIED, "192.0.2.5", x_forwarded_for=endless)


TRUSTED = [ip_network("192.0.2.0/24")]


@given(spoofed=st.text(max_size=60), real=st.ip_addresses(v=4))
def test_what_a_client_writes_never_matters(spoofed: str, real: Any) -> None:
    expected = find_client("192.0.2.5", str(real), TRUSTED)
    if real not in TRUSTED[0]:
        assert find_client("192.0.2.5", f"{spoofed}, {real}", TRUSTED) == expected == real


@given(st.text(max_size=80))
def test_parsing_an_address_never_fails(text: str) -> None:
    address = parse_address(text)
    assert address is None or ip_address(str(address)) == address


# -- configuration --------------------------------------------------------------------------------------------------


def test_rule_with_an_unknown_profile_stops_the_server() -> None:
    with pytest.raises(ConfigError, match=r"policy\.network\.rules\.0\.profiles: there is no profile 'intrenal'"):
        select({"rules": [rule("10.0.0.0/8", profiles=["intrenal"])]}, "10.0.0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Field required"),
        ({"rules": []}, "at least 1 item"),
        ({"rules": [rule()]}, "at least 1 item"),
        ({"rules": [rule("10.0.0.5/8")]}, "10.0.0.5/8 has host bits set; write an address or a network"),
        ({"rules": [rule("10.0.0.0/33")]}, "write an address or a network"),
        ({"rules": [rule("example.org")]}, "write an address or a network"),
        ({"rules": [rule("10.0.0.0/8", refuse=True, profiles=["default"])]}, "either refuses or names profiles"),
        ({"rules": [rule("10.0.0.0/8", refused=True)]}, "refused"),
    ],
)
def test_mistakes_are_explained(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=r"(?s).*" + message.replace(".", r"\.")):
        NetworkOptions.model_validate(options)


def test_lists_can_be_written_with_commas() -> None:
    options = NetworkOptions.model_validate(
        {"rules": [{"networks": "10.0.0.0/8, ::1", "profiles": "default,internal"}], "trusted_proxies": "127.0.0.1"}
    )
    networks: Sequence[Any] = options.rules[0].networks
    assert [str(network) for network in networks] == ["10.0.0.0/8", "::1/128"]
    assert options.rules[0].profiles == ["default", "internal"]
