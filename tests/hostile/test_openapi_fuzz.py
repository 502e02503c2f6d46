"""schemathesis sends what /openapi.json allows, and what it forbids, and holds the replies against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.serving import open_service
from tsa_core.http import create_app
from tsa_core.http.openapi import openapi_document
from tsa_core.testing import require_package

OPERATIONS = [(path, method) for path, methods in openapi_document()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    """The document as the server serves it, with all that schemathesis generates from it."""
    require_package("schemathesis")  # the core's tests also run where only the core is installed
    from schemathesis import GenerationMode, openapi

    with open_service() as service:
        loaded = openapi.from_wsgi("/openapi.json", create_app(service))
        loaded.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
        yield loaded


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_reply_is_one_that_the_document_describes(schema: Any, path: str, method: str) -> None:
    """Each route answers with a status, a type and a document that /openapi.json has, and never with a 500."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

    @given(case=schema[path][method.upper()].as_strategy())
    @settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def fuzz(case: Any) -> None:
        case.call_and_validate(checks=checks)

    fuzz()
