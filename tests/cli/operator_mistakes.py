"""Mistakes that operators make, each with what the line on stderr must say: the place, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

MEMORY: Final = '[profiles.default]\nsigner = "memory:"\n'
_PASSWORD: Final = '{ file = "tsa/tsa.password" }'


class Mistake(NamedTuple):
    """`command` is typed in a folder with the files of the test, `config` is its tsa.toml."""

    command: str
    place: str
    remedy: str
    config: str | None = None
    environ: Mapping[str, str] = {}
    code: int = 2


def setting(text: str, place: str, remedy: str, *, command: str = "check", code: int = 2) -> Mistake:
    """A mistake in tsa.toml, beside a profile that is right."""
    return Mistake(f"{command} --config tsa.toml", place, remedy, MEMORY + text, code=code)


def profile(text: str, place: str, remedy: str) -> Mistake:
    """A mistake in a profile."""
    return Mistake("check --config tsa.toml", place, remedy, MEMORY + text)


def file_key(
    place: str, remedy: str, *, key: str = "tsa/tsa.key", chain: str = "tsa/chain.pem", password: str = ""
) -> Mistake:
    """A mistake about a key in a file, or its chain; the password is right unless given, and left out as `none`."""
    table = "" if password == "none" else f"password = {password or _PASSWORD}\n"
    text = f'[profiles.default]\nsigner = "file:{key}"\ncertificate_chain = "{chain}"\n[signer.file]\n{table}'
    return Mistake("check --config tsa.toml", place, remedy, text)


def https(certificate: str, key: str, place: str, remedy: str) -> Mistake:
    """A mistake about the files of the scheme https."""
    text = f'[server]\nschemes = ["https"]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    return setting(text, place, remedy, command="serve")


COMMAND_LINE: Final = {
    "command": Mistake("sreve", "'sreve'", "Did you mean"),
    "flag": Mistake("serve --prot 1", "'--prot'", "Did you mean"),
    "flag without value": Mistake("serve --port", "'--port'", "requires an argument"),
    "number too large": Mistake("serve --port 70000", "'--port'", "0<=x<=65535"),
    "no number": Mistake("serve --port http", "'--port'", "integer"),
    "duration": Mistake("serve --graceful-timeout soon", "server.graceful_timeout", "write '5s'"),
    "boolean": Mistake("serve --use-http-201=maybe", "'--use-http-201'", "neither true nor false"),
    "twice": Mistake("serve --port 1 --port 2", "--port", "give it once"),
    "scheme": Mistake("serve --scheme ftp", "command line: --scheme: server.schemes", "'http', 'https' or 'unix'"),
    "signer": Mistake("serve --timestamp-signer hsm", "'--timestamp-signer'", "'memory', 'file', 'kms', 'tink'"),
    "kms without key": Mistake("serve --timestamp-signer kms", "--timestamp-signer kms", "needs --kms-key-resource"),
    "file without key": Mistake("serve --timestamp-signer file", "signer file", "needs --file-signer-key-path"),
    "two keys": Mistake("serve --kms-key-resource x:y --tink-keyset-path k", "--tink-keyset-path", "give one"),
    "other signer's flag": Mistake(
        "serve --timestamp-signer kms --kms-key-resource x: --tink-key-resource y",
        "--tink-key-resource",
        "goes with --timestamp-signer tink",
    ),
    "unknown scheme": Mistake("serve --kms-key-resource awskm:///k", "'awskm'", "did you mean 'awskms'?"),
    "no scheme": Mistake("serve --kms-key-resource alias/tsa", "'alias/tsa'", "installed: "),
    "missing key": Mistake(
        "check --file-signer-key-path /nope.pem --certificate-chain-path tsa/chain.pem", "/nope.pem", "private key"
    ),
    "policy": Mistake("serve --default-policy-oid 1.2.x", "profiles.default.policies", "write it in dotted form"),
    "https without files": Mistake("serve --scheme https", "schemes has https", "--tls-certificate FILE"),
    "unix without path": Mistake("serve --scheme unix", "schemes has unix", "--socket-path FILE"),
    "files without https": Mistake("serve --tls-key k", "tls_key", "--scheme https"),
    "missing configuration": Mistake("serve --config nope.toml", "nope.toml", "it was looked for in "),
    "folder for a file": Mistake("serve --config tsa", "tsa: the configuration file", "name the file itself"),
    "huge configuration": Mistake("serve --config huge", "huge", "larger than any configuration file"),
    "binary configuration": Mistake("serve --config binary", "binary", "not UTF-8"),
    "reload of what": Mistake("reload", "which server?", "Give --config FILE, --pid-file FILE or --pid N"),
    "reload without pid file": Mistake("reload --pid-file nope.pid", "nope.pid", "is the server running?"),
    "reload of nobody": Mistake("reload --pid 99999999", "99999999", "is the server running?"),
    "init where something is": Mistake("init tsa", "tsa: ", "name another directory"),
    "init in a country": Mistake("init x --country Germany", "'--country'", "two letters, DE"),
    "init with a lost flag": Mistake("init x --signer-setting a=b", "--signer-setting", "--key names"),
    "init without password": Mistake("init x --password-env NOPE", "NOPE", "8 characters"),
    "init of a kind of key": Mistake("init x --algorithm rsa", "'--algorithm'", "'rsa-2048'"),
    "missing chain": Mistake("check-chain /nope.pem", "/nope.pem", "certificate chain cannot be read"),
    "chain of garbage": Mistake("check-chain garbage", "garbage", "PEM file of certificates, TSA certificate first"),
    "unknown rules": Mistake("check-chain tsa/chain.pem --profile eidas", "'--profile'", "'etsi'"),
    "plugin": Mistake("plugins show awskm", "'awskm'", "did you mean 'awskms'?"),
    "new plugin": Mistake("plugins new", "'NAME'", "Missing argument"),
    "migrate what is ours": Mistake("migrate tsa.toml", "tsa.toml", "nothing to migrate", MEMORY),
    "clock of nobody": Mistake("clock --url http://127.0.0.1:1", "http://127.0.0.1:1", "is the server running?"),
    "trust of no profile": Mistake("trusted-root --profile x", "'x'", "there is default"),
    "address missing": Mistake("signing-config", "'--uri'", "Missing option"),
    "password in an address": Mistake("signing-config --uri https://u:p@x", "--uri", "leave them out"),
    "status of no address": Mistake("status --url x", "--url", "http://HOST:PORT"),
    "shell": Mistake("completion tcsh", "'tcsh'", "'bash'"),
    "help of nothing": Mistake("help nix", "'nix'", "there is no command"),
}
ENVIRONMENT: Final = {
    "empty TSA_CONFIG": Mistake("serve", "TSA_CONFIG", "or unset it", environ={"TSA_CONFIG": ""}),
    "one underscore": Mistake("serve", "TSA_SERVER_PORT", "TSA_SERVER__PORT is", environ={"TSA_SERVER_PORT": "1"}),
    "unknown": Mistake("serve", "TSA_SERVER__PROT", "did you mean 'port'?", environ={"TSA_SERVER__PROT": "1"}),
    "no number": Mistake("serve", "TSA_SERVER__PORT", "whole number", environ={"TSA_SERVER__PORT": "x"}),
    "no trial": Mistake("serve", "TSA_SERVER__TRIAL_KEY", "--config", environ={"TSA_SERVER__TRIAL_KEY": "false"}),
}
SETTINGS: Final = {
    "syntax": setting("[server\n", "tsa.toml", "at line 3"),
    "size": Mistake("serve --max-header-size much", "server.max_header_size", "must be a size: 16384, 16KiB"),
    "host that is empty": setting('[server]\nhost = [""]\n', "server.host.0", "must not be empty"),
    "unknown table": setting("[sever]\nport = 1\n", "tsa.toml: unknown setting sever", "did you mean 'server'?"),
    "unknown setting": setting("[server]\nprot = 1\n", "server.prot", "did you mean 'port'?"),
    "wrong type": setting('[server]\nport = "x"\n', "tsa.toml: server.port", "must be a whole number"),
    "too small": setting("[server]\nworkers = 0\n", "server.workers", "must be 1 or more"),
    "trial key in a file": setting("[server]\ntrial_key = true\n", "server.trial_key", "TSA_SERVER__TRIAL_KEY"),
    "worker timeout": setting('[server]\nworker_timeout = "5s"\n', "worker_timeout", "ask for more (workers)"),
    "http2": setting("[server]\nhttp2 = true\n", "http2", "--server granian"),
    "ping only": setting("[server]\nhttp_ping_only = true\n", "http_ping_only", "--scheme https"),
    "socket mode": setting('[server]\nsocket_mode = "rw"\n', "server.socket_mode", '"0660" for example'),
    "public url": setting('[server]\npublic_url = "tsa"\n', "server.public_url", "https://tsa.example.org"),
    "log keys": setting('[log]\nkeys = "gcp"\n', "log: keys", 'type = "prod"'),
    "log level": setting('[log]\nlevel = "loud"\n', "log.level", "'debug', 'info', 'warning' or 'error'"),
    "monitor": setting('[clock]\nmonitors = ["ntpp"]\n', "clock monitor 'ntpp'", "did you mean 'ntp'?"),
    "no monitor": setting('[clock]\nmonitors = ["memory"]\n', "memory", "it offers: signer 'memory'"),
    "clock": setting('[clock]\nsource = "gps"\n', "clock source 'gps'", "installed: system"),
    "table nobody selects": setting('[audit.auditfile]\npath = "a"\n', "[audit.auditfile]", 'sinks = ["auditfile"]'),
    "table of nobody": setting("[signer.memroy]\nx = 1\n", "[signer.memroy]", "installed: "),
    "sink's setting missing": setting('[audit]\nsinks = ["auditfile"]\n', "audit.auditfile.path", "is missing"),
    "sink's setting": setting(
        '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npaht = "x"\n',
        "audit.auditfile.paht",
        "did you mean 'path'?",
    ),
    "limit of nothing": setting('[audit]\nsink_timeout = "1s"\n', "sink_timeout", "sinks selects no plugin"),
    "pid file": setting('[server]\npid_file = "nope/x"\n', "nope/x", "server.pid_file", command="serve"),
    "pid file of others": setting('[server]\npid_file = "garbage"\n', "garbage", "would destroy it", command="serve"),
    "state": setting('[server]\nstate_directory = "garbage/x"\n', "server.state_directory", "give a directory"),
    "ntp without servers": setting('[clock]\nmonitors = ["ntp"]\n', "clock.ntp", "list at least num_servers"),
    "no pid file": setting("", "server.pid_file", "give --pid-file or --pid", command="reload", code=1),
    "no profiles": Mistake("check --config tsa.toml", "tsa.toml", "write [profiles.default]", "[server]\nport = 1\n"),
    "no default": Mistake(
        "check --config tsa.toml", "[profiles.default]", "it has: a", '[profiles.a]\nsigner = "memory:"\n'
    ),
    "no signer": Mistake("check --config tsa.toml", "profiles.default.signer", "key URI", "[profiles.default]\n"),
    "empty signer": Mistake(
        "check --config tsa.toml", "profiles.default.signer", "must not be empty", '[profiles.default]\nsigner = ""\n'
    ),
    "profile's name": setting('[profiles."A B"]\nsigner = "memory:"\n', "profiles.A B", "write small letters"),
    "order of workers": profile(
        "ordering = true\nfraction_digits = 3\n[server]\nworkers = 2\n", "profiles.default", "leave"
    ),
    "order of seconds": profile("ordering = true\n", "profiles.default", "fraction_digits = 3 or more"),
    "hash": profile('hashes = ["sha257"]\n', "profiles.default.hashes", "choose among sha256"),
    "weak hash": profile('hashes = ["sha1"]\n', "profiles.default.hashes", "accept_sha1 = true"),
    "path": profile('paths = ["tsa"]\n', "profiles.default.paths", "write /like/this"),
    "accuracy": profile('accuracy = "0s"\n', "profiles.default.accuracy", '"none" leaves it out'),
}
KEYS: Final = {
    "wrong password": file_key("tsa/tsa.key", "the password is wrong", password='"hunter2-hunter2"'),
    "no password": file_key("tsa/tsa.key", "[signer.file] password", password="none"),
    "password's variable": file_key("signer.file.password", "NOPE is not set", password='{ env = "NOPE" }'),
    "password's file": file_key("signer.file.password: ", "cannot be read", password='{ file = "nope" }'),
    "password's form": file_key("signer.file.password", '{ file = "PATH" }', password='{ fil = "x" }'),
    "garbage": file_key("garbage", "PEM or DER", key="garbage", password="none"),
    "folder": file_key("tsa: the private key", "name the file itself", key="tsa", password="none"),
    "missing chain": file_key("nope.pem", "it was looked for in ", chain="nope.pem"),
    "garbage for a chain": file_key("garbage", "PEM file of certificates", chain="garbage"),
    "chain upside down": file_key("certificate_chain", "order the chain", chain="reversed.pem"),
    "chain of one": file_key("certificate_chain", "it needs the TSA certificate", chain="leaf.pem"),
    "chain without root": file_key("certificate_chain", "put the root at the end", chain="rootless.pem"),
    "other key": file_key("certificate_chain", "or the other key", chain="other/chain.pem"),
    "no chain": Mistake(
        "check --config tsa.toml",
        "profiles.default.certificate_chain",
        "--certificate-chain-path",
        '[profiles.default]\nsigner = "file:tsa/tsa.key"\n[signer.file]\npassword = { file = "tsa/tsa.password" }\n',
    ),
    "https: missing": https("a", "b", "a: the file of server.tls_certificate", "it was looked for in "),
    "https: garbage": https("garbage", "garbage", "server.tls_certificate: garbage", "certificates in PEM"),
    "https: encrypted": https("tsa/chain.pem", "tsa/tsa.key", "server.tls_key", "openssl pkey"),
    "https: no key": https("tsa/chain.pem", "garbage", "server.tls_key: garbage", "a private key in PEM"),
}
MISTAKES: Final = {
    f"{title}: {name}": mistake
    for title, table in {
        "command line": COMMAND_LINE,
        "environment": ENVIRONMENT,
        "settings": SETTINGS,
        "keys": KEYS,
    }.items()
    for name, mistake in table.items()
}
