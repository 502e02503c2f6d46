"""Faults of plugins and settings: wrong types, classes, versions and names, backends that are down at start."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.faults.fault import Seen, fault
from bench.faults.scene import MEMORY, Scene, took
from tests import pki

_NOTHING = "nothing: no server"
_UNTIL_CHANGED = "not by itself; nothing was started"
_HEAD = "from tsa_core.api import *\n"


def _install(scene: Scene, source: str, *, requires: str = "tsa-core>=0.1,<0.2") -> Mapping[str, str]:
    """Install the plugin `wrong` of acme-timestamps 1.0, and return the variables with which it is found."""
    metadata = scene.folder / "site" / "acme_timestamps-1.0.dist-info"
    metadata.mkdir(parents=True)
    (scene.folder / "site" / "acme_timestamps.py").write_text(_HEAD + source)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: acme-timestamps\nVersion: 1.0\nRequires-Dist: {requires}\n"
    )
    (metadata / "entry_points.txt").write_text("[tsa_core.plugins]\nwrong = acme_timestamps\n")
    return {"PYTHONPATH": str(scene.folder / "site")}


def _refused(scene: Scene, toml: str, environ: Mapping[str, str] | None = None, *, code: int = 2) -> Seen:
    """Start a server that must end with one line and this exit code."""
    done = scene.run("serve", "--config", scene.configure(toml), "--port", "0", environ=environ)
    assert done.code == code, done.output
    (line,) = done.output.splitlines()
    healed = "a service manager tries again" if code == 75 else _UNTIL_CHANGED
    return Seen(client=_NOTHING, also=f"exit code {code}: {scene.plain(line)}", healed=healed)


def _hook(hook: str, opens: str) -> str:
    options = ", options=SignerOptions" if hook == "tsa_signers" else ""
    return f"\n@hookimpl\ndef {hook}():\n    yield Provider(name='wrong', summary=''{options}, open={opens})\n"


_SIGNER = '[profiles.default]\nsigner = "wrong:"\n'
_SINK = MEMORY + '[audit]\nsinks = ["wrong"]\n'


@fault("sink-of-another-class", "An audit sink whose class is not AuditSink")
def sink_class(scene: Scene) -> Seen:
    """Found when it is opened."""
    source = "class Sink:\n    def write_all(self, records): pass\n" + _hook(
        "tsa_audit_sinks", "lambda options: Sink()"
    )
    return _refused(scene, _SINK, _install(scene, source))


@fault("sink-async", "An audit sink whose `write` is `async def`, and would store nothing")
def sink_async(scene: Scene) -> Seen:
    """Found when it is opened."""
    source = "class Sink(AuditSink):\n    async def write(self, record): pass\n"
    return _refused(scene, _SINK, _install(scene, source + _hook("tsa_audit_sinks", "lambda options: Sink()")))


@fault("options-no-model", "A signer whose options are a dict")
def options(scene: Scene) -> Seen:
    """Found when the hook is asked."""
    source = _hook("tsa_signers", "None").replace("SignerOptions", "{}")
    return _refused(scene, _SIGNER, _install(scene, source))


@fault("open-hangs", "A signer whose `open` does not return; `open_timeout` is 1 s")
def open_hangs(scene: Scene) -> Seen:
    """Ended by the limit."""
    environ = _install(scene, "import time\n" + _hook("tsa_signers", "lambda options: time.sleep(3600)"))
    return _refused(scene, _SIGNER + '[server]\nopen_timeout = "1s"\n', environ)


@fault("plugin-for-a-newer-core", "A plugin that requires tsa-core 0.2")
def newer(scene: Scene) -> Seen:
    """Found in its metadata."""
    return _refused(scene, _SIGNER, _install(scene, "", requires="tsa-core>=0.2,<0.3"))


@fault("process-returns-none", "A response processor that returns None for one request")
def process(scene: Scene) -> Seen:
    """One refusal, and the next request is answered."""
    source = (
        "from pathlib import Path\n"
        "class Processor(ResponseProcessor):\n    def process(self, response, draft):\n"
        f"        return None if Path({str(scene.folder / 'wrong')!r}).exists() else response\n"
    )
    environ = _install(scene, source + _hook("tsa_response_processors", "lambda options: Processor()"))
    with scene.serve(MEMORY + '[response]\nprocessors = ["wrong"]\n', environ=environ) as server:
        assert server.grants()
        (scene.folder / "wrong").touch()
        client, log, readyz = server.refusal(), server.logged("process returned None"), server.readyz()
        (scene.folder / "wrong").unlink()
        return Seen(client=client, log=log, readyz=readyz, healed=f"{server.healed()} after it returned bytes")


@fault("table-not-selected", "`[audit.auditfile]` without `[audit] sinks`")
def table(scene: Scene) -> Seen:
    """The line to add."""
    return _refused(scene, MEMORY + '[audit.auditfile]\npath = "audit.jsonl"\n')


@fault("variable-one-underscore", "`TSA_SERVER_PORT=4000`")
def underscore(scene: Scene) -> Seen:
    """The right name."""
    return _refused(scene, MEMORY, {"TSA_SERVER_PORT": "4000"})


@fault("variable-empty-config", "`TSA_CONFIG=`, empty")
def empty(scene: Scene) -> Seen:
    """Never the key made at start."""
    done = scene.run("serve", "--port", "0", environ={"TSA_CONFIG": ""})
    assert done.code == 2, done.output
    return Seen(client=_NOTHING, also=f"exit code 2: {scene.plain(done.output)}", healed=_UNTIL_CHANGED)


@fault("container-without-configuration", "The image's default command, `serve`, without a configuration")
def container(scene: Scene) -> Seen:
    """Refused unless the memory signer is asked for by name."""
    done = scene.run("serve", "--port", "0", environ={"TSA_SERVER__TRIAL_KEY": "false"})
    assert done.code == 2, done.output
    return Seen(client=_NOTHING, also=f"exit code 2: {scene.plain(done.output)}", healed=_UNTIL_CHANGED)


def _backend(scene: Scene) -> tuple[Path, str, Mapping[str, str]]:
    """Return where the backend's key will be, the settings and the variables."""
    key = scene.folder / "key.pem"
    (scene.folder / "chain.pem").write_bytes(pki.pem(pki.chain("p256")))
    source = (
        "from pathlib import Path\nfrom cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
        "class Backend(LocalKeySigner):\n    latency = 'remote'\n"
        "def open_signer(options):\n    path = Path(options.uri.partition(':')[2])\n"
        "    if not path.exists():\n        raise SignerUnavailable('hsm.example:7000: connection refused')\n"
        "    return Backend(load_pem_private_key(path.read_bytes(), None))\n"
    )
    toml = f'[profiles.default]\nsigner = "wrong:{key}"\ncertificate_chain = "chain.pem"\n'
    return key, toml, _install(scene, source + _hook("tsa_signers", "open_signer"))


@fault("backend-down-at-start", "A signer's backend is down when the server starts")
def backend_down(scene: Scene) -> Seen:
    """A code of its own, after which systemd starts it again."""
    _, toml, environ = _backend(scene)
    return _refused(scene, toml, environ, code=75)


@fault("backend-down-start-wait", 'The same with `[server] start = "wait"`')
def backend_wait(scene: Scene) -> Seen:
    """Unready, and well when the backend comes."""
    key, toml, environ = _backend(scene)
    with scene.serve(f'[server]\nstart = "wait"\n{toml}', environ=environ) as server:
        client, log, readyz = server.refusal(), server.logged("the server starts without it"), server.readyz()
        fresh = key.with_suffix(".new")
        fresh.write_bytes(pki.key("p256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        fresh.rename(key)
        return Seen(client=client, log=log, readyz=readyz, healed=f"{server.healed()} after the backend came")


@fault("port-held-start-wait", 'Another process holds the port; `[server] start = "wait"`')
def port_held(scene: Scene) -> Seen:
    """Waits for the port."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        toml = MEMORY + '[server]\nstart = "wait"\n'
        with scene.serve(toml, "--port", port, wait_for="the server waits and tries again") as server:
            log = server.logged("the server waits and tries again")
            other.close()
            server.wait_for_log("listening on ")
            assert server.grants()
    return Seen(client="no connection", log=log, healed=f"with the next attempt, {took(1)} to 30 s apart")
