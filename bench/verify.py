"""Verifications per second of one reply, with path building, beside rfc3161-client's verifier in the same run.

    python -m bench.verify [--quick] [--json]

Every reader takes its turn in every round (A B C A B C), so that a busy machine slows all of them; the figures are
medians over the rounds, and what counts is the ratio. `warm` is a Verifier that has seen the authority before, and gets
one token again and again; in `warm, different` each of 500 tokens has a serial number, a nonce and a time of its own.
`cold` has the caller's certificates read, as rfc3161-client's verifier has, but remembers nothing of tokens: every
signature of the path is checked. `from PEM` reads the chain file too and begins with nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import cycle
from random import randbytes
from time import process_time
from typing import Any

from cryptography.hazmat.backends.openssl.backend import backend

from bench.report import progress
from tsa_core.client import build_request
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import read_request
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.protocol.template import TokenTemplate
from tsa_core.protocol.tstinfo import SERIAL_OCTETS, Accuracy, encode_gen_time, encode_serials, encode_signing_time
from tsa_core.testing.forged_pki import Chain, make_chain
from tsa_core.verify import TrustStore, Verifier, verify_response

DATA = b"hello"
DIGEST = SHA256.digest(DATA)
DIFFERENT = 500
KINDS = ("p256", "rsa2048")
TARGETS = {"warm": 5.0, "cold": 2.0}
"""How many times faster than rfc3161-client, for P-256: what issue 3 promises."""


def make_reply(chain: Chain, *, earlier: timedelta = timedelta(0)) -> bytes:
    """Return a reply as the server sends it: signer and intermediate in the token, accuracy, nonce."""
    request = read_request(build_request(digest=DIGEST))
    algorithm = signature_algorithm(chain.signer.certificate.public_key())
    template = TokenTemplate(
        signer_certificate=chain.signer.der,
        certificates=[chain.signer.der, chain.intermediate.der],
        algorithm=algorithm,
        accuracy=Accuracy(microseconds=1_000_000),
    )
    now = datetime.now(UTC) - earlier
    content = template.tst_info(
        policy_der=der.oid("1.3.6.1.4.1.57264.2"),
        imprint_der=request.imprint_der,
        serial_der=encode_serials(randbytes(SERIAL_OCTETS))[0],
        gen_time_der=encode_gen_time(now),
        nonce_der=request.nonce_der,
    )
    attributes = template.signed_attributes(content, encode_signing_time(now))
    signature = algorithm.signing_function(chain.signer.key)(attributes)
    return template.response(tst_info=content, signed_attributes=attributes, signature=signature, certificates=True)


def readers(kind: str) -> dict[str, Callable[[], object]]:
    """Return what is compared, by name."""
    chain = make_chain(kind)
    reply = make_reply(chain)
    others = cycle([make_reply(chain, earlier=timedelta(seconds=number)) for number in range(DIFFERENT)])
    trust = TrustStore.from_chain(chain.pem)
    warm = Verifier(trust)
    cold = Verifier(trust)

    def forget_and_verify() -> object:
        cold.forget()
        return cold.verify_response(reply, digest=DIGEST)

    key = chain.signer.key.public_key()
    algorithm = signature_algorithm(key)
    signature = algorithm.signing_function(chain.signer.key)(DATA)
    compared: dict[str, Callable[[], object]] = {
        "bare signature": lambda: algorithm.verify(key, signature, DATA),
        "warm": lambda: warm.verify_response(reply, digest=DIGEST),
        "warm, different": lambda: warm.verify_response(next(others), digest=DIGEST),
        "cold": forget_and_verify,
        "from PEM": lambda: verify_response(reply, digest=DIGEST, trust=TrustStore.from_chain(chain.pem)),
    }
    try:
        import rfc3161_client
    except ImportError:
        return compared
    other = (
        rfc3161_client.VerifierBuilder()
        .tsa_certificate(chain.signer.certificate)
        .add_intermediate_certificate(chain.intermediate.certificate)
        .add_root_certificate(chain.root.certificate)
        .build()
    )
    compared["rfc3161-client"] = lambda: other.verify(rfc3161_client.decode_timestamp_response(reply), DIGEST)
    return compared


def measure(compared: dict[str, Callable[[], object]], *, rounds: int, seconds: float) -> dict[str, float]:
    """Return microseconds per call by name, medians over interleaved rounds of about `seconds` each."""
    counts = {}
    for name, call in compared.items():
        call()
        started = process_time()
        call()
        counts[name] = max(1, int(seconds / (process_time() - started)))
    times: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, call in compared.items():
            started = process_time()
            for _ in range(counts[name]):
                call()
            times[name].append((process_time() - started) / counts[name] * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def run(*, quick: bool = False) -> dict[str, Any]:
    """Return the figures as one document."""
    rounds, seconds = (3, 0.02) if quick else (15, 0.1)
    kinds = {}
    for kind in KINDS:
        progress(f"verify, {kind}")
        micros = measure(readers(kind), rounds=rounds, seconds=seconds)
        other = micros.get("rfc3161-client")
        kinds[kind] = {
            name: {
                "microseconds": round(value, 1),
                "per_second": round(1e6 / value),
                "times_rfc3161_client": round(other / value, 2) if other else None,
            }
            for name, value in micros.items()
        }
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
        "openssl": backend.openssl_version_text(),
        "targets_p256": TARGETS,
        "verify": kinds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark verification.")
    parser.add_argument("--quick", action="store_true", help="a second or two, to see that it works")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    document = run(quick=arguments.quick)
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    print(f"{document['python']}, {document['openssl']}")
    for kind, figures in document["verify"].items():
        print(f"\n{kind:20}{'us':>10}{'per second':>12}{'x rfc3161-client':>18}")
        for name, figure in figures.items():
            times = figure["times_rfc3161_client"]
            shown = f"{times:.2f}" if times is not None else "-"
            print(f"{name:20}{figure['microseconds']:>10.1f}{figure['per_second']:>12}{shown:>18}")
    p256 = document["verify"]["p256"]
    for name, target in TARGETS.items():
        reached = p256[name]["times_rfc3161_client"]
        if reached is not None:
            print(f"\n{name}: {reached:.2f} times rfc3161-client, at least {target:g} demanded", end="")
    print()


if __name__ == "__main__":
    main()
