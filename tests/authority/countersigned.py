"""What tests of countersignatures share: a sink that keeps events, and what is asked and answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from asn1crypto import cms

from tests.serving import TestSink
from tsa_core.api import AuditEvent, Countersigner, RefusalRecord, RequestRejected, RouteRequest
from tsa_core.service import Service

VALUE = bytes(range(256))


class Events(TestSink):
    """Keeps events, and refusals."""

    keeps_events = True
    wants_refusals = True

    def __init__(self) -> None:
        super().__init__()
        self.events: list[AuditEvent] = []
        self.refusals: list[RefusalRecord] = []

    def event(self, event: AuditEvent) -> None:
        if event.kind != "countersignature":
            return
        if self.failure is not None:
            raise self.failure
        self.events.append(event)

    def write_refusals(self, records: Sequence[RefusalRecord]) -> None:
        self.refusals.extend(records)


def countersigner(service: Service, profile: str = "default", **options: bool) -> Countersigner:
    return service.access.countersigner(profile, protocol="test", **options)


def asked(**fields: Any) -> RouteRequest:
    return RouteRequest(client_address="192.0.2.1", request_id="7", **fields)


def refusal(signs: Countersigner, **fields: Any) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        signs.countersign(VALUE, asked(**fields))
    return caught.value


def signer_info(der: bytes) -> Any:
    (info,) = cms.ContentInfo.load(der, strict=True)["content"]["signer_infos"]
    return info


def attributes(der: bytes) -> dict[str, Any]:
    return {each["type"].native: each["values"].native[0] for each in signer_info(der)["signed_attrs"]}
