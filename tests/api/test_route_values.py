"""What plugins' routes are given and return does not change, and shares nothing."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from tsa_core.api import Route, RouteReply, RouteRequest


def test_the_functions_of_dataclasses_take_them() -> None:
    request = RouteRequest(path="/a", body=b"secret")
    assert dataclasses.replace(request, method="POST") == RouteRequest(path="/a", body=b"secret", method="POST")
    assert [each.name for each in dataclasses.fields(RouteReply)] == [
        *("status", "body", "content_type", "cache", "etag", "headers")
    ]
    assert dataclasses.asdict(RouteReply(status=404))["status"] == 404


def test_what_is_replaced_is_checked() -> None:
    with pytest.raises(ValueError, match="cannot be a path"):
        dataclasses.replace(Route(path="/a", answer=RouteReply()), path="b")


def test_they_are_frozen_and_hide_what_they_hid() -> None:
    reply: Any = RouteReply(body=b"secret")
    with pytest.raises(AttributeError, match="status"):
        reply.status = 500
    assert repr(reply) == (
        "RouteReply(status=200, content_type='text/plain; charset=utf-8', cache='no-store', etag='', headers={})"
    )
    assert copy.deepcopy(reply) == reply == pickle.loads(pickle.dumps(reply))


def test_a_request_has_no_header_unless_somebody_says_so() -> None:
    assert RouteRequest().header("X-Any") is None
    assert RouteRequest(header=lambda name: name).header("X-Any") == "X-Any"


def test_a_plugin_that_writes_into_a_default_writes_for_nobody_else() -> None:
    headers: Any = RouteReply().headers
    headers["X-Mine"] = "1"
    assert RouteReply().headers == {} == RouteRequest().query
