"""When to reload (after SIGHUP or when files have changed), and how the result is reported.

`ReloadControl` runs in the process that gets the operator's signals: the only one, or the parent of workers. Its
`apply` takes the new configuration into use.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from tsa_core.api import ConfigError, TemporaryFailure, TsaError
from tsa_core.api.files import noting_files
from tsa_core.api.time_limit import Overdue, within_limit
from tsa_core.config import ServerSettings, Settings
from tsa_core.hosting.facts import Facts
from tsa_core.hosting.notify import notify_ready, notify_reloading
from tsa_core.hosting.pid_file import PidFile
from tsa_core.service import CertificateWatch, kind_text

log = logging.getLogger(__name__)

RELOADED = frozenset({"rejections", "use_http_201", "public_url", "watch", "state_directory", "open_timeout"})
"""The settings of [server] that a reload changes; listeners, processes and limits are set at start only."""
_START_TABLES = ("log", "metrics")

_POLL_SECONDS = 1.0
_STAT_SECONDS = 2.0
_AGAIN_SECONDS = 30.0
"""When a server that watches its files tries again what was refused for a reason that may pass."""
_STDERR = 2
_Signature: TypeAlias = "tuple[int, ...] | None"


class FileWatch:
    """Notices changed files by a stat of each, once a second.

    A change counts when two checks in a row find the same state, because a key and its chain are seldom replaced in the
    same instant. Links are followed, so that a replaced link is a change; Kubernetes updates files that way. While a
    file system hangs, nothing is noticed; what has changed by then is noticed afterwards.
    """

    def __init__(self) -> None:
        self._known: dict[Path, _Signature] = {}
        self._seen: dict[Path, _Signature] = {}
        self._hanging: threading.Thread | None = None
        self._told = False

    def look(self) -> Mapping[Path, _Signature]:
        """Return the current state of the watched files, for `accept` after they have been read."""
        return self._signatures(self._known) or {}

    def accept(self, files: Iterable[Path], were: Mapping[Path, _Signature] | None = None) -> None:
        """Watch these files from now on. Changes count from their current state, or from `were`, an earlier one."""
        # The thread that hangs may do so for ever, in a file system that somebody has put another in place of.
        self._hanging = None
        now = self._signatures(files)
        self._known = self._seen = dict.fromkeys(files) if now is None else {**now, **_only(were or {}, now)}

    def changed(self) -> list[Path]:
        """Return the files that have changed, once they no longer change; each change is returned once."""
        now = self._signatures(self._known)
        if now is None:
            return []
        settled, self._seen = now == self._seen, now
        if not settled or now == self._known:
            return []
        changed = [path for path, signature in now.items() if signature != self._known[path]]
        self._known = now
        return changed

    def _signatures(self, files: Iterable[Path]) -> dict[Path, _Signature] | None:
        """Return the state of files, None while a file system hangs."""
        if self._hanging is not None and self._hanging.is_alive():
            return None
        threads: list[threading.Thread] = []

        def look() -> dict[Path, _Signature]:
            threads.append(threading.current_thread())
            return {path: _signature(path) for path in files}

        try:
            found = within_limit(look, seconds=_STAT_SECONDS, name="file-watch")
        except Overdue:
            self._hanging = threads[0]
            if not self._told:
                log.warning("the file system of a watched file hangs; until it answers, changes are not noticed")
            self._told = True
            return None
        if self._told:
            log.info("the file system of the watched files answers again")
            self._told = False
        return found


def _only(some: Mapping[Path, _Signature], files: Iterable[Path]) -> dict[Path, _Signature]:
    return {path: some[path] for path in files if path in some}


def _signature(path: Path) -> _Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    # The last one changes too when somebody keeps the size, and sets the time of what he copied.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class ReloadControl:
    """Reloads on request and when files have changed, reports the result, and warns of certificates that end.

    `read_again` returns the current settings. `apply` takes new ones into use and returns the facts of `describe`. When
    either raises TsaError, nothing has changed. `facts` are those of the start.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        facts: Facts,
        read_again: Callable[[], Settings],
        apply: Callable[[Settings], Facts],
        pid_file: PidFile | None = None,
    ) -> None:
        self.settings = settings
        self._facts = facts
        self._read_again = read_again
        self._apply = apply
        self._pid_file = pid_file
        self._requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._files = FileWatch()
        self._certificates = CertificateWatch()
        self._next_poll = 0.0
        self._again_at = inf
        self._has_terminal = os.isatty(_STDERR)
        self._stopping = threading.Event()
        self._files.accept(self._watched())
        self._certificates.look(facts["profiles"])

    def request(self, *_: object) -> None:
        """Ask for a reload; safe in a signal handler.

        When the server was started in a terminal that has been closed, the signal ends the server.
        """
        if self._has_terminal and not os.isatty(_STDERR):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._requests.put("SIGHUP")

    def tick(self) -> None:
        """Reload when asked or when files have changed, and check certificates; never raises."""
        try:
            if not self._requests.empty():
                while not self._requests.empty():
                    reason = self._requests.get()
                self._reload(reason)
            now = monotonic()
            if now >= self._next_poll:
                self._next_poll = now + _POLL_SECONDS
                if self.settings.server.watch and (changed := self._files.changed()):
                    self._reload(f"changed: {', '.join(sorted(map(str, changed)))}")
                elif now >= self._again_at:
                    self._reload("again")
                self._certificates.look(self._facts["profiles"])
        except Exception:
            log.exception("the watch over configuration and certificates failed; it goes on")

    def run(self) -> None:
        """Call `tick` until `stop`; for a thread of its own."""
        while not self._stopping.is_set():
            self.tick()
            try:
                self._requests.put(self._requests.get(timeout=_POLL_SECONDS / 2))
            except queue.Empty:
                continue

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
        self._requests.put("")

    def _watched(self) -> set[Path]:
        files = {Path(each) for each in self._facts["files"]}
        return files | {self.settings.config_file} if self.settings.config_file else files

    def _reload(self, reason: str) -> None:
        if self._stopping.is_set():
            return
        log.info("reload (%s)", reason)
        notify_reloading()
        self._again_at, began = inf, monotonic()
        wanted: set[Path] = set()
        # Opening takes time, and files may change meanwhile after they have been read.
        were = self._files.look()
        try:
            with noting_files() as read:
                new, unchangeable = keep_start_settings(self.settings, self._read_again())
                wanted = {path for profile in new.profiles.values() if (path := profile.certificate_chain)}
                for line in unchangeable:
                    log.warning("%s", line)
                facts = self._apply(new)
        except TsaError as error:
            line = "; ".join(str(error).splitlines())
            if self.settings.server.watch and isinstance(error, TemporaryFailure):
                line += f"; it is tried again in {_AGAIN_SECONDS:g} s"
                self._again_at = monotonic() + _AGAIN_SECONDS
            log.error("reload refused, nothing has changed: %s", line)  # noqa: TRY400 - the operator's own mistake
            self._say(succeeded=False, message=line, began=began)
            # Else an invalid chain or key that is new in the configuration would not be watched.
            self._files.accept(self._watched() | wanted | read, were)
            return
        except Exception as error:
            log.exception("reload failed, nothing has changed")
            message = f"unexpected failure, see the log: {type(error).__name__}"
            self._say(succeeded=False, message=message, began=began)
            return
        summary = _summary(self._facts, facts)
        self.settings, self._facts = new, facts
        for warning in facts["warnings"]:
            log.warning("%s", warning)
        log.info("reloaded: %s", summary)
        self._say(succeeded=True, message="; ".join((summary, *unchangeable)), began=began)
        self._files.accept(self._watched(), were)
        self._certificates.look(facts["profiles"])

    def _say(self, *, succeeded: bool, message: str, began: float) -> None:
        notify_ready(message if succeeded else f"reload refused: {message}")
        if self._pid_file is not None:
            self._pid_file.report(succeeded=succeeded, message=message, began=began)


def keep_start_settings(old: Settings, new: Settings) -> tuple[Settings, Sequence[str]]:
    """Return the new settings, but with the old values where only a start can change them, and a line for each."""
    stays = {
        name: getattr(old.server, name)
        for name in ServerSettings.model_fields
        if name not in RELOADED and getattr(new.server, name) != getattr(old.server, name)
    }
    tables = {name: getattr(old, name) for name in _START_TABLES if getattr(new, name) != getattr(old, name)}
    ordered = [name for name, profile in new.profiles.items() if profile.ordering]
    if ordered and old.server.workers > 1:
        raise ConfigError(f"profiles.{ordered[0]}.ordering = true needs server.workers = 1, and this server has more")
    changed = [*(f"server.{name}" for name in stays), *tables]
    lines = [f"{name} has changed, which takes effect at the next start only" for name in changed]
    if changed:
        new = new.model_copy(update={**tables, "server": new.server.model_copy(update=stays)})
    if new.tells_guards_of_certificates and not old.tells_guards_of_certificates:
        lines.append("middleware.guards learn the certificates that clients show over TLS from the next start on only")
    return new, lines


def _summary(before: Facts, after: Facts) -> str:
    """Return what has changed, profile by profile."""
    chains = {profile["name"]: profile["chain_id"] for profile in before["profiles"]}
    enforced = {profile["name"]: profile["conformance"] for profile in before["profiles"]}
    parts = []
    for profile in after["profiles"]:
        known = chains.pop(profile["name"], None)
        same = "same certificate" if known == profile["chain_id"] else "new certificate"
        change = "new profile" if known is None else same
        parts.append(f"profile {profile['name']}: {change}, until {profile['not_after']}")
        if (now := profile["conformance"]) != (was := enforced.get(profile["name"], now)):
            parts[-1] += f", conformance {' '.join(now) or 'none'}, before {' '.join(was) or 'none'}"
    parts.extend(f"profile {name}: gone" for name in chains)
    for kind, names in after["selected"].items():
        if names != (was := before["selected"][kind]):
            parts.append(f"{kind_text(kind)}: {', '.join(names) or 'none'}, before {', '.join(was) or 'none'}")
    return "; ".join(parts)
