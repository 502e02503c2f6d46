"""RoutesContract: what the core demands of those who add paths, and an authority that they can reach in tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from tsa_core.api import (
    AuthorityAccess,
    ClockReport,
    Countersigner,
    PluginOptions,
    ProfileReport,
    Provider,
    RequestContext,
    Route,
    RouteReply,
    RouteRequest,
    Routes,
    Signer,
)
from tsa_core.api.time_limit import Overdue, within_limit
from tsa_core.testing.fakes import FakeSigner
from tsa_core.testing.pki import Pki, write_pem
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.samples import SAMPLE_POLICY
from tsa_core.testing.threads import on_threads
from tsa_core.testing.tokens import make_authority

_PARAMETERS = ("sample", "x001", "0", "..", "a" * 200, "\x00", "<script>", "%2e%2e/%2e%2e/etc/passwd", "\u00e9\u4e2d")
_BODIES = (b"", b"\x00", b"0\x03\x02\x01\x00", b"{}", b"text\r\n", bytes(range(256)))
_HEADERS = ("", "x", "<script>alert(1)</script>", "\xe9", "," * 1000)
_THREADS = 32


class SampleAccess(AuthorityAccess):
    """A whole authority with one profile, whose chain is made on the spot, and its key too unless there is a `signer`.

    `stopped_by` can be set.
    """

    def __init__(self, folder: Path, signer: Signer | None = None) -> None:
        signer = signer or FakeSigner()
        chain = Pki().chain(signer.public_key)
        self.authority = make_authority(signer, write_pem(folder / "chain.pem", chain))
        self.chain = chain
        self.stopped_by: tuple[str, ...] = ()

    def profiles(self) -> Sequence[ProfileReport]:
        """Return the profile."""
        profile = self.authority.profiles["default"]
        return [
            ProfileReport(
                name="default",
                path="/api/v1/timestamp",
                policies=(SAMPLE_POLICY,),
                algorithm=profile.algorithm.name,
                subject=self.chain[0].subject.rfc4514_string(),
                accuracy=timedelta(seconds=1),
                certificate_chain=profile.certificate_chain_pem,
                not_after=profile.not_after,
                stopped_by=self.stopped_by,
            )
        ]

    def clock(self) -> ClockReport:
        """Return a clock that is right."""
        return ClockReport(
            state="synchronised",
            trusted=True,
            text="The clock is watched, and right.",
            error_bound=timedelta(milliseconds=2),
        )

    def issue(self, query: bytes, request: RouteRequest, *, profile: str | None = None) -> bytes:
        """Issue a timestamp."""
        if profile not in {None, "default"}:
            raise LookupError(f"there is no profile {profile!r}")
        return self.authority.respond(query, RequestContext(request_id=request.request_id)).der

    def countersigner(self, profile: str, *, protocol: str, sha1: bool = False) -> Countersigner:
        """Return what countersigns for the profile."""
        return self.authority.countersigner(profile, protocol=protocol, sha1=sha1)


def sample_route_request(
    route: Route, *, parameter: str = "sample", method: str = "GET", value: str = "", body: bytes = b""
) -> RouteRequest:
    """Return a request to a route: `parameter` is in place of each open part, `value` in queries and all headers."""
    names = [part.strip("{}").partition(":")[0] for part in route.parts if part.startswith("{")]
    return RouteRequest(
        method=method,
        path=route.path,
        parameters=dict.fromkeys(names, parameter),
        query={"q": value, "name": value} if value else {},
        content_type=value,
        body=body,
        client_address="127.0.0.1",
        request_id="sample",
        header=lambda _name: value or None,
    )


class RoutesContract(PluginFixtures):
    """Subclass it as TestRoutes; override `plugin`, and `options` where the routes need settings."""

    handler_seconds: ClassVar[float] = 30.0
    """How long a call of a handler may take here. A server waits for `[routes] handler_timeout`, 15 s."""

    @pytest.fixture
    def access(self, tmp_path: Path) -> AuthorityAccess:
        """Return the authority that the routes can reach."""
        return SampleAccess(tmp_path)

    @pytest.fixture
    def open_routes(
        self, provider: Provider[Routes], validated_options: PluginOptions, access: AuthorityAccess
    ) -> Iterator[Callable[[], Routes]]:
        """Return a function that opens the routes through their provider, and binds them."""
        opened: list[Routes] = []

        def open_one() -> Routes:
            opened.append(provider.open(validated_options))
            opened[-1].bind(access)
            return opened[-1]

        yield open_one
        for each in opened:
            each.close()

    @pytest.fixture
    def routes(self, open_routes: Callable[[], Routes]) -> Sequence[Route]:
        """Return what the opened object adds."""
        return open_routes().routes()

    def ask(self, route: Route, request: RouteRequest) -> RouteReply:
        """Return what a route answers; fails the test for what a server would not send."""
        if isinstance(route.answer, RouteReply):
            return route.answer
        handler = route.answer
        try:
            reply: object = within_limit(lambda: handler(request), seconds=self.handler_seconds, name="handler")
        except Overdue:
            pytest.fail(f"{route.path} has not answered within {self.handler_seconds:g} s; give it a limit of its own")
        except Exception as error:  # noqa: BLE001 - any is the failure that is looked for
            pytest.fail(
                f"{route.path} raised {type(error).__name__}: {error}, for {request!r:.300}; whatever a client writes "
                "is answered by a RouteReply, of status 400 for example",
                pytrace=False,
            )
        assert isinstance(reply, RouteReply), f"{route.path} returned a {type(reply).__name__}, not a RouteReply"
        return reply

    def test_is_routes(self, open_routes: Callable[[], Routes]) -> None:
        assert isinstance(open_routes(), Routes), "what `open` returns must extend tsa_core.api.Routes"

    def test_there_are_routes_and_none_twice(self, routes: Sequence[Route]) -> None:
        assert routes, "routes() returned nothing: the plugin adds nothing to the server"
        assert all(isinstance(route, Route) for route in routes), "routes() returns a list of tsa_core.api.Route"
        asked = [(route.path, method) for route in routes for method in route.methods]
        assert len(asked) == len(set(asked)), f"a path has a method twice: {asked}"

    def test_no_path_is_the_cores(self, routes: Sequence[Route]) -> None:
        core = {"api", "tsa", "ping", "healthz", "readyz", "docs", "openapi.json", "swagger.json"}
        for route in routes:
            first = route.parts[0] if route.parts else ""
            assert first not in core, f"{route.path} is the core's; take another"
            assert not first.startswith("{"), f"{route.path} would take the core's paths; begin it with a name"
            assert route.parts or "POST" not in route.methods, "POST to / is the core's"

    @pytest.mark.parametrize("parameter", _PARAMETERS, ids=lambda p: ascii(p)[1:20])
    def test_get_answers_whatever_the_path_says(self, routes: Sequence[Route], parameter: str) -> None:
        for route in routes:
            if "GET" in route.methods:
                self.ask(route, sample_route_request(route, parameter=parameter))

    @pytest.mark.parametrize("value", _HEADERS, ids=lambda v: ascii(v)[1:12] or "empty")
    def test_headers_and_queries_do_no_harm(self, routes: Sequence[Route], value: str) -> None:
        for route in routes:
            for method in route.methods:
                self.ask(route, sample_route_request(route, method=method, value=value))

    def test_post_answers_whatever_the_body_is(self, routes: Sequence[Route]) -> None:
        for route in routes:
            if "POST" not in route.methods:
                continue
            for body in (*_BODIES, b"\x30" * route.max_body):
                self.ask(route, sample_route_request(route, method="POST", body=body[: route.max_body]))

    def test_what_may_be_cached_for_ever_stays_the_same(self, routes: Sequence[Route]) -> None:
        for route in routes:
            if "GET" in route.methods:
                first = self.ask(route, sample_route_request(route))
                if "immutable" in first.cache:
                    assert self.ask(route, sample_route_request(route)) == first, f"{route.path} is not immutable"

    def test_many_threads_are_answered(self, routes: Sequence[Route]) -> None:
        asked = [(route, sample_route_request(route)) for route in routes if "GET" in route.methods]
        if asked:
            shared = [asked[number % len(asked)] for number in range(_THREADS)]
            assert all(reply.status for reply in on_threads(lambda pair: self.ask(*pair), shared))

    def test_close_twice(self, open_routes: Callable[[], Routes]) -> None:
        opened = open_routes()
        opened.close()
        opened.close()
