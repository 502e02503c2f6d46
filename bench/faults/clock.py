"""Faults of the clock: time servers that lie, a clock that is set or drifts, a monitor that cannot run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.faults.fault import Seen, fault
from bench.faults.scene import MEMORY, Scene, WatchedServer
from tests.wall_clock import WallClock
from tsa_core.testing.chronyd import Chronyd
from tsa_core.testing.ntp_responder import NtpResponder


@contextmanager
def responders(count: int) -> Iterator[list[NtpResponder]]:
    """Time servers, each at an address of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(NtpResponder(host=f"127.0.0.{number}")) for number in range(1, count + 1)]


def ntp(servers: Sequence[str], *, threshold: int = 3, clock: str = "", profile: str = "") -> str:
    """Return a configuration with the NTP monitor, quick enough to watch."""
    listed = ", ".join(f'"{server}"' for server in servers)
    return (
        f'[server]\npid_file = "tsa.pid"\n{MEMORY}{profile}\n[clock]\nmonitors = ["ntp"]\n{clock}\n'
        f"[clock.ntp]\nservers = [{listed}]\nnum_servers = {len(servers)}\nserver_threshold = {threshold}\n"
        'period = "500ms"\nrequest_timeout = "300ms"\nrequest_attempts = 1\n'
    )


def refused(server: WatchedServer, reason: str, log: str, **seen: str) -> dict[str, str]:
    """Wait until clients are refused with this reason, and return what they and the operator see."""
    server.until(lambda: reason in server.ask().words, what=f"clients are refused: {reason}")
    words = server.ask().words
    assert words.startswith("`timeNotAvailable`"), words
    return {
        "client": words,
        "log": server.logged(log),
        "readyz": server.readyz(),
        "metric": server.metric("clock_issuing"),
        **seen,
    }


@fault(
    "clock-liar",
    "NTP monitor; the clock is 1.2 s off, two servers are certain to 1.3 s only, one lies that it is right",
)
def liar(scene: Scene) -> Seen:
    """The liar cannot narrow what the two leave open."""
    with responders(3) as servers:
        for honest in servers[:2]:
            honest.offset, honest.root_dispersion = 1.2, 1.3
        with scene.serve(ntp([each.server for each in servers])) as server:
            seen = refused(server, "accuracy", "clock state=unsynchronised.*accuracy")
            for honest in servers[:2]:
                honest.offset = honest.root_dispersion = 0.0
            return Seen(**seen, healed=f"{server.healed()} after the clock was right, with rounds 0.5 s apart")


@fault("clock-liar-chrony", "The same with chronyd, which selects the liar and claims some microseconds")
def liar_of_chronyd(scene: Scene) -> Seen:
    """chronyd's estimate is not what is believed."""
    with responders(3) as servers:
        for honest in servers[:2]:
            honest.offset, honest.root_dispersion = 1.2, 1.3
        first, *others = servers
        with Chronyd(scene.folder / "chronyd", follows=first.port, also=[each.server for each in others]) as chronyd:
            settings = f'address = "127.0.0.1"\nport = {chronyd.command_port}\nperiod = "500ms"\nmin_sources = 3\n'
            with scene.serve(f'{MEMORY}[clock]\nmonitors = ["chrony"]\n[clock.chrony]\n{settings}') as server:
                seen = refused(server, "off by more", "chronyd: the clock is off by more")
                for honest in servers[:2]:
                    honest.offset = honest.root_dispersion = 0.0
                return Seen(**seen, healed=f"{server.healed()} after the clock was right, with polls 0.25 s apart")


@fault("clock-disagree", "NTP monitor; two of four time servers are 30 s ahead")
def disagree(scene: Scene) -> Seen:
    """No majority, no token, and no holdover."""
    with responders(4) as servers, scene.serve(ntp([each.server for each in servers])) as server:
        server.healed()
        servers[0].offset = servers[1].offset = 30.0
        seen = refused(server, "disagree", "clock state=unsynchronised previous=synchronised")
        servers[0].offset = servers[1].offset = 0.0
        return Seen(**seen, healed=f"{server.healed()} after they were right, with rounds 0.5 s apart")


@fault("clock-silent", "NTP monitor; all time servers are silent; `max_holdover` is 2 s instead of an hour")
def silent(scene: Scene) -> Seen:
    """Holdover first, then no token."""
    with responders(4) as servers:
        toml = ntp([each.server for each in servers], clock='max_holdover = "2s"')
        with scene.serve(toml) as server:
            server.healed()
            for each in servers:
                each.silent = True
            log = server.logged("clock state=holdover")
            seen = refused(server, "for longer", "clock state=unsynchronised previous=holdover")
            seen["client"] = f"tokens while it holds over, then {seen['client']}"
            seen["log"] = f"{log}, {seen['log']}"
            for each in servers:
                each.silent = False
            return Seen(**seen, healed=f"{server.healed()} after they answered, with rounds 0.5 s apart")


@fault("clock-kod", "NTP monitor; one of four time servers answers DENY; then a reload")
def kiss_of_death(scene: Scene) -> Seen:
    """Obeyed after the reload, too."""
    with responders(4) as servers:
        servers[0].stratum, servers[0].reference = 0, b"DENY"
        with scene.serve(ntp([each.server for each in servers])) as server:
            server.healed()
            before = servers[0].requests
            reloaded = scene.reload(server)
            assert "reload" in reloaded, reloaded
            asked = servers[1].requests
            server.until(lambda: servers[1].requests >= asked + 4, what="four more rounds")
            assert servers[0].requests == before == 1
            assert server.grants()
            log = server.logged("DENY")
        return Seen(
            client="tokens", log=log, healed="the server is left alone for a day: asked once, not after the reload"
        )


_NO_THREADS = """
import pathlib, sys, threading
start = threading.Thread.start
def refuse(self):
    if self.name.startswith("ntp-peer") and pathlib.Path({path!r}).exists():
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refuse
"""


@fault("clock-no-threads", "NTP monitor; for a moment no thread can be started for its questions")
def no_threads(scene: Scene) -> Seen:
    """It does not stay blind."""
    switch = scene.folder / "no-threads"
    switch.touch()
    with responders(4) as servers:
        prelude = _NO_THREADS.format(path=str(switch))
        with scene.serve(ntp([each.server for each in servers]), prelude=prelude) as server:
            seen = refused(server, "can be asked", "error.*can't start new thread")
            switch.unlink()
            return Seen(**seen, healed=f"{server.healed()} after there were threads again, with rounds 0.5 s apart")


@fault("clock-process-hangs", "Two workers; the process that watches the clock for them hangs (SIGSTOP)")
def process_hangs(scene: Scene) -> Seen:
    """The workers' gates close when its word is too old."""
    with responders(4) as servers, scene.serve(ntp([each.server for each in servers]), "--workers", "2") as server:
        server.healed()
        [watcher] = [pid for pid in server.workers() if b"clock_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(watcher, signal.SIGSTOP)
        try:
            seen = refused(server, "stopped working", "clock state=unsynchronised")
        finally:
            os.kill(watcher, signal.SIGCONT)
        return Seen(**seen, healed=f"{server.healed()} after SIGCONT")


@fault("clock-unresolvable", "NTP monitor; no name of a time server can be resolved; `check`, then `serve`")
def unresolvable(scene: Scene) -> Seen:
    """Both say the same."""
    servers = [f"{number}{'x' * 64}.example" for number in range(4)]  # the label is too long: nobody is asked for it
    config = scene.configure(ntp(servers))
    checked = scene.run("check", "--config", config)
    assert checked.code == 1, checked.output
    assert checked.output.count("the name cannot be resolved") == 4, checked.output
    with scene.serve(None) as server:
        seen = refused(server, "too few", "too few time servers", also="`check` names each server and exits with 1")
    return Seen(**seen, healed="when the names can be resolved, with the next round")


@fault("clock-drift", '`accuracy = "10ms"` with the NTP monitor\'s default period of 60 s; `serve`')
def drift(scene: Scene) -> Seen:
    """The start refuses a promise that the clock may break."""
    toml = ntp(["127.0.0.1:1"], threshold=1, profile='accuracy = "10ms"').replace('period = "500ms"\n', "")
    ran = scene.run("serve", "--port", "0", "--config", scene.configure(toml))
    assert ran.code == 2, ran.output
    [line] = [line for line in ran.output.splitlines() if "drift_ppm" in line]
    return Seen(client="no server", also=f"exit code 2, {scene.plain(line)}", healed="with a period that fits")


@fault("clock-unmonitored", "No monitor; `check`, then `serve`")
def unmonitored(scene: Scene) -> Seen:
    """In plain words, and no refusal."""
    checked = scene.run("check", "--config", scene.configure())
    assert checked.code == 0, checked.output
    line = next(line for line in checked.output.splitlines() if "unmonitored" in line)
    with scene.serve(None) as server:
        client, log = server.ask().words, server.logged("The clock is unmonitored")
        metric = server.metric('clock_state{state="unmonitored"}')
    return Seen(
        client=client,
        log=log,
        metric=metric,
        also=f"`check` exits with 0, {scene.plain(line)}",
        healed="with a monitor",
    )


@fault("clock-step", "No monitor; the clock is set forward by an hour, and back")
def step(scene: Scene) -> Seen:
    """Closed at once, open again when the clock is where it was."""
    wall = WallClock(scene.folder)
    with scene.serve(MEMORY, environ=wall.environ) as server:
        assert server.grants()
        wall.set_by(3600)
        client = server.ask().words
        assert "timeNotAvailable" in client
        log, readyz = server.logged("clock state=stepped"), server.readyz()
        metric = server.metric("clock_issuing")
        wall.set_by(0)
        healed = server.healed()
    return Seen(client=client, log=log, readyz=readyz, metric=metric, healed=f"{healed} after it was set back")


@fault("clock-step-warn", 'The same with `unmonitored_step = "warn"`')
def step_warned_of(scene: Scene) -> Seen:
    """Tokens all the same, and a loud log."""
    wall = WallClock(scene.folder)
    with scene.serve(f'{MEMORY}[clock]\nunmonitored_step = "warn"\n', environ=wall.environ) as server:
        wall.set_by(3600)
        client = server.ask().words
        assert client == "a token"
        log = server.logged("clock state=stepped")
        metric = server.metric('clock_state{state="stepped"}')
        wall.set_by(0)
        healed = server.until(lambda: "state=unmonitored" in server.log, what="the step is over")
    return Seen(client=client, log=log, metric=metric, healed=f"{healed} after it was set back")
