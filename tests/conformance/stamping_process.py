"""Stamps as fast as it can and prints the serial numbers; test_s_serials.py runs several at once.

usage: python stamping_process.py COUNT
A line is written before the token would leave, so that a process which is killed has told all that it gave away.
"""

from __future__ import annotations

import sys

from asn1crypto import tsp

from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import RequestContext
from tsa_core.protocol import der
from tsa_core.protocol.request import read_request
from tsa_core.protocol.response import signed_parts


def main(count: int) -> None:
    body = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(32)},
        }
    ).dump()
    request = read_request(body)
    context = RequestContext()
    with open_service(Parts(signers={"p256": TestSigner("p256")})) as service:
        issue = service.authority.issue
        for _ in range(count):
            content = signed_parts(issue(request, context)).tst_info
            _, offset, end = der.read(content, 0, len(content))
            for _ in range(3):  # version, policy, messageImprint
                offset = der.read(content, offset, end)[2]
            _, start, stop = der.read(content, offset, end)
            sys.stdout.write(content[start:stop].hex() + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
