"""A KMS plugin of sigstore's protocol as a program, for tests: copied to a folder as sigstore-kms-NAME.

Beside it are `KEY.pem`, a private key for each key that it has, and files by which a test steers it: `freeze` makes it
hang, `refuse` makes it answer with an error message, and every call is appended to `calls`, with its environment.
It imports nothing but the standard library, so that it starts quickly; openssl signs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HASHES = {5: "sha256", 6: "sha384", 7: "sha512"}


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def sign(key: str, options: dict[str, object]) -> bytes:
    if options.get("digest") is None:
        with tempfile.NamedTemporaryFile() as message:
            message.write(sys.stdin.buffer.read())
            message.flush()
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", message.name)
    more = ["-pkeyopt", f"digest:{HASHES[int(str(options['hashFunc']))]}"]
    return openssl("pkeyutl", "-sign", "-inkey", key, *more, data=base64.b64decode(str(options["digest"])))


def main() -> None:
    with (HERE / "calls").open("a") as calls:
        calls.write(json.dumps({"argv": sys.argv, "environ": dict(os.environ)}) + "\n")
    assert sys.argv[1] == "v1"
    call = json.loads(sys.argv[2])
    method = call["methodName"]
    key = str(HERE / f"{call['initOptions']['keyResourceID'].partition('?')[0]}.pem")
    if (HERE / "freeze").exists():
        child = subprocess.Popen(["sleep", "600"])
        (HERE / "frozen").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    reply: dict[str, object]
    if (HERE / "refuse").exists():
        sys.stderr.write("the HSM is away\n")
        reply = {"errorMessage": f"cannot: the PIN {os.environ.get('HSM_PIN', '')} did not help"}
    elif method == "publicKey":
        pem = openssl("pkey", "-in", key, "-pubout")
        reply = {"publicKey": {"publicKeyPEM": base64.b64encode(pem).decode()}}
    elif method == "signMessage":
        signature = sign(key, call["signMessage"]["signOptions"]["messageOptions"])
        reply = {"signMessage": {"signature": base64.b64encode(signature).decode()}}
    else:
        reply = {"errorMessage": f"unsupported method: {method}"}
    sys.stdout.write(json.dumps(reply))


if __name__ == "__main__":
    main()
