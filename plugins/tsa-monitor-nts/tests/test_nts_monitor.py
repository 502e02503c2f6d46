"""Rounds with real chronyds that serve NTS: the contract, majorities, servers that change their keys, forged time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import tomli_w
from prometheus_client import REGISTRY

from tsa_backends.watched_clock import WITHIN, TimeServersContract, TimeServersProviderContract, believed, reach
from tsa_core.api import ClockMonitor, ConfigError
from tsa_core.authority import ClockGate, ClockState
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import wait_until
from tsa_monitor_nts import monitor as monitor_module
from tsa_monitor_nts import plugin as nts_plugin
from tsa_monitor_nts.monitor import NtsMonitor
from tsa_monitor_nts.options import NtsOptions

from .nts_world import ExchangeThrough, ManInTheMiddle, NtsChronyd, free_tcp_port

Watch: TypeAlias = Callable[..., tuple[NtsMonitor, ClockGate]]


class TestProvider(TimeServersProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return nts_plugin


class TestMonitor(TimeServersContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return nts_plugin

    @pytest.fixture
    def blind_monitor(self, table: Callable[..., dict[str, Any]]) -> ClockMonitor | None:
        gone = [f"127.0.0.1:{free_tcp_port()}" for _ in range(4)]
        return NtsMonitor(NtsOptions.model_validate(table(servers=gone)))


def test_right_servers_are_believed_and_the_events_say_that_they_are_authenticated(watch: Watch) -> None:
    monitor, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    believed(monitor, [True] * 4)
    assert all(report.authenticated for report in monitor.sources())
    for report in monitor.sources():
        labels = {"host": report.name, "failed": "false"}
        assert (REGISTRY.get_sample_value("timestamp_authority_nts_sync_total", labels) or 0) > 0
    wait_until(
        lambda: gate.status().facts["measured_by"] == "4 of 4 NTP servers, authenticated by NTS",
        seconds=WITHIN,
        what=f"the gate says so ({gate.status().facts})",
    )


def test_one_wrong_server_is_outvoted_and_two_are_not(servers: list[NtsChronyd], watch: Watch) -> None:
    monitor, gate = watch(gate={"max_holdover": "1s"})
    reach(gate, ClockState.SYNCHRONISED)
    servers[0].offset = 30.0
    wait_until(lambda: monitor.sources()[0].used is False, seconds=WITHIN, what="one is not believed")
    reach(gate, ClockState.SYNCHRONISED)
    servers[1].offset = 30.0
    reach(gate, ClockState.UNSYNCHRONISED, "the time servers disagree")


def test_all_agree_that_the_clock_is_wrong(servers: list[NtsChronyd], watch: Watch) -> None:
    _, gate = watch()
    reach(gate, ClockState.SYNCHRONISED)
    for server in servers:
        server.offset = -7.0
    wait_until(lambda: "differs from the time servers" in gate.status().reason, seconds=WITHIN, what="7 s are noticed")


def test_a_server_with_new_keys_is_asked_for_them(servers: list[NtsChronyd], watch: Watch) -> None:
    monitor, gate = watch(server_threshold=4, request_attempts=2)
    reach(gate, ClockState.SYNCHRONISED)
    servers[3].stop()
    wait_until(lambda: "no answer" in monitor.sources()[3].outcome, seconds=WITHIN, what="it is gone")
    servers[3].start()
    wait_until(lambda: monitor.sources()[3].outcome == "answered", seconds=WITHIN, what="it is asked for new keys")
    reach(gate, ClockState.SYNCHRONISED)


def test_who_shifts_the_time_of_half_of_the_servers_is_refused(
    servers: list[NtsChronyd], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(_: bytes, answer: bytes) -> list[bytes]:
        # Both times of the server, 2^32 units to the second: seven seconds later.
        late = [(int.from_bytes(answer[at : at + 8], "big") + 7 * 2**32).to_bytes(8, "big") for at in (32, 40)]
        return [answer[:32] + b"".join(late) + answer[48:]]

    with ManInTheMiddle(servers[0].port) as first, ManInTheMiddle(servers[1].port) as second:
        through = {servers[0].key_port: first.port, servers[1].key_port: second.port}

        class Exchange(ExchangeThrough):
            def __init__(self, host: str, port: int, context: Any) -> None:
                super().__init__(host, port, context)
                self.time_port = through.get(port)

        monkeypatch.setattr(monitor_module, "KeyExchange", Exchange)
        monitor, gate = watch(gate={"max_holdover": "500ms"})
        reach(gate, ClockState.SYNCHRONISED)
        first.change = second.change = forged
        reach(gate, ClockState.UNSYNCHRONISED, "too few time servers answer")
        wait_until(
            lambda: all("authenticator does not fit" in report.outcome for report in monitor.sources()[:2]),
            seconds=WITHIN,
            what="the operator is told why",
        )
        first.change = second.change = lambda _, answer: [answer]
        reach(gate, ClockState.SYNCHRONISED)


def test_a_failed_key_exchange_is_tried_again_after_a_reload(table: Callable[..., dict[str, Any]]) -> None:
    gone = [f"127.0.0.1:{free_tcp_port()}", *table()["servers"]]
    monitor = NtsMonitor(NtsOptions.model_validate(table(servers=gone, num_servers=5, key_exchange_pause="1h")))
    monitor.start(SystemClock())
    try:
        wait_until(
            lambda: monitor.sources()[0].outcome == "no key exchange: Connection refused",
            seconds=WITHIN,
            what="the failed exchange",
        )
        assert not monitor._peers[0].may_be_asked
        assert monitor.memory() == "{}", "a reload happens because settings have changed"
    finally:
        monitor.stop()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"servers": ["a:b", "c", "d", "e"]}, r"clock\.nts\.servers: 'a:b' is no time server"),
        ({"servers": ["a"]}, r"clock\.nts: num_servers is 4, but only 1"),
        ({"servers": ["a", "b", "c", "::g"]}, r"clock\.nts\.servers: '::g' is no time server"),
        ({"servers": ["a", "b", "c", "under_score.example"]}, r"'under_score\.example' is no time server"),
        ({"servers": ["a", "b", "c", "d\0e"]}, r"'d\\x00e' is no time server"),
        ({"servers": ["a", "b", "c", "d", "A:4460"]}, r"clock\.nts\.servers: 'a' and 'A:4460' are one server"),
        ({"ca": "/nowhere/ca.pem"}, r"/nowhere/ca\.pem"),
        ({"ca": "/dev/null"}, r"clock\.nts\.ca: /dev/null holds no PEM certificates"),
    ],
)
def test_settings_that_cannot_work(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        NtsMonitor(NtsOptions.model_validate({"servers": ["a", "b", "c", "d"], **more}))


def test_a_name_in_another_script_is_asked_for_in_ascii() -> None:
    monitor = NtsMonitor(NtsOptions.model_validate({"servers": ["zeit.bücher.example", "b", "c", "d"]}))
    assert monitor._peers[0].address == "zeit.xn--bcher-kva.example:4460"


def test_the_clock_command_says_that_servers_are_authenticated(
    table: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config = tmp_path / "tsa.toml"
    profile = {"signer": "memory:", "accuracy": "measured", "fraction_digits": 3}
    document = {"clock": {"monitors": ["nts"], "nts": table(request_timeout="900ms")}, "profiles": {"default": profile}}
    config.write_text(tomli_w.dumps(document), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "tsa_core.cli.server", "clock", "--config", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["measured by", "4 of 4 NTP servers, authenticated by NTS"] in rows
    assert [row[3] for row in rows if len(row) == 9 and row[0] == "nts"] == ["yes"] * 4
