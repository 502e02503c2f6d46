"""The lock of whoever anchors a trail: told when it cannot be had, and left to the server's user."""

from __future__ import annotations

import os

import pytest

from tsa_core.api import ConfigError

from .databases import SqliteTrail, record


def test_a_lock_that_cannot_be_opened_is_told(sqlite: SqliteTrail) -> None:
    with sqlite.opened() as sink, sqlite.trail() as trail:
        sink.write(record(1))
        sqlite.path.with_name("audit.db.anchoring").mkdir()
        told = r"audit\.db\.anchoring: it cannot be opened: Is a directory"
        with pytest.raises(ConfigError, match=told), trail.anchoring():
            pass


@pytest.mark.needs(os.geteuid() == 0, "gives files to another user, as root")
def test_what_a_command_of_root_leaves_belongs_to_the_servers_user(sqlite: SqliteTrail) -> None:
    with sqlite.opened() as sink:
        sink.write(record(1))
    os.chown(sqlite.path, 4321, 4321)
    with sqlite.trail() as trail, trail.anchoring() as alone:
        assert alone
    assert sqlite.path.with_name("audit.db.anchoring").stat().st_uid == 4321
