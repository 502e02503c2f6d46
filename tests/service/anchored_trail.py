"""A trail that other authorities stamp, for the tests of anchors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tsa_core.api import LocalKeySigner, RequestContext
from tsa_core.api.trail import Trail, begin_hash, encode, seal
from tsa_core.api.trail.chain import BEGINNING
from tsa_core.authority import TimestampAuthority
from tsa_core.cli.audit.group import audit
from tsa_core.config import load_settings
from tsa_core.host import AUDIT_SINK, PluginHost
from tsa_core.testing import Pki, make_authority, new_key, sample_record
from tsa_core.testing.http_tsa import Answer, HttpTsa


class OtherTsa:
    """An authority of somebody else's, on loopback."""

    def __init__(self, pki: Pki, folder: Path) -> None:
        signer = LocalKeySigner(new_key("ecdsa-p256"))
        folder.mkdir()
        self.authority: TimestampAuthority = make_authority(
            signer, pki.write_chain(folder / "chain.pem", signer.public_key)
        )
        self.http = HttpTsa(self.stamp)

    def stamp(self, body: bytes) -> Answer:
        return Answer(body=self.authority.respond(body, RequestContext()).der)


def write(config: Path, numbers: range) -> None:
    settings = load_settings(config, whole=False)
    host = PluginHost.for_settings(settings)
    [name] = settings.audit.sinks
    sink = host.open(AUDIT_SINK, name, settings.audit.plugin_table(name))
    sink.write_all([sample_record(number) for number in numbers])
    host.close()


def open_trail(config: Path) -> Trail:
    settings = load_settings(config, whole=False)
    return PluginHost.for_settings(settings).open_trail("auditfile", settings.audit.plugin_table("auditfile"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def anchored(config: Path) -> None:
    result = run("anchor", "--config", config)
    assert result.exit_code == 0, result.output


def lines(config: Path) -> list[bytes]:
    return (config.parent / "trail" / "audit.jsonl").read_bytes().splitlines(keepends=True)


def put(config: Path, lines: list[bytes]) -> None:
    (config.parent / "trail" / "audit.jsonl").write_bytes(b"".join(lines))


def rewritten(lines: list[bytes], change: Callable[[int, dict[str, Any]], None]) -> list[bytes]:
    """The lines with a change, and all hashes computed anew, as whoever can write the file can do."""
    result, link, begun = [], BEGINNING, begin_hash(None)
    for number, line in enumerate(lines):
        fields = json.loads(line)
        change(number, fields)
        members = {name: value for name, value in fields.items() if name not in {"seq", "hash"}}
        text, link = seal(encode(members), link, begun)
        result.append(text.encode("ascii"))
    return result


def folder(config: Path) -> Path:
    return config.parent / "trail" / "audit.jsonl.anchors"
