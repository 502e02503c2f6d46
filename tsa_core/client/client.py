"""Asking one timestamp authority.

from tsa_core.client import TimestampClient
timestamp = TimestampClient("https://timestamp.example.org").stamp(artifact="release.tar.gz")
Path("release.tsr").write_bytes(timestamp.reply)
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self, Unpack
from urllib.parse import urlsplit

from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import BadReply, TimestampRefused
from tsa_core.client.request import RequestArguments, build_request
from tsa_core.client.settings import ClientSettings, check_bearer_token, header_source
from tsa_core.client.timeliness import DEFAULT_CLOCK_WINDOW, check_time
from tsa_core.client.timestamp import Timestamp
from tsa_core.client.tls import ClientSettingError, tls
from tsa_core.client.transport import Transport, timestamp_url, without_credentials
from tsa_core.verify import NotGranted, VerificationError, check_answer


class TimestampClient:
    """Asks one authority; safe to use from many threads, which then share its connections.

    `url` is used as it is when it has a path; without one, `/api/v1/timestamp` is added. Every reply is checked
    against its request: with `verifier` completely, without one in everything that needs no trust.

    - `timeout`, 30 seconds unless given, is a deadline over everything between `stamp` and its result.
    - `ca` is a PEM file of the certificate authorities to trust for TLS, instead of the system's.
    - `client_certificate`, `client_key` are PEM files; the key may stand in the certificate's.
    - `ssl_context` takes the place of these three.
    - `headers` are sent besides; `token_file` holds a bearer token and is read for each request. A bearer token goes
      over plain http only to this machine, unless `token_over_http` is true.
    - `retries` is how often to ask again after a refused or broken connection or HTTP 429, 502, 503 or 504, when the
      server says (Retry-After), else after 0.5, 1, 2, ... seconds, and only if the deadline leaves time for it.
    - `clock_window`, 5 minutes unless given, is how far genTime may be from this machine's clock (rule V6): a reply
      to a request without a nonce must not be older, and none may be further in the future.

    Headers, token and client certificate go to the server that `url` names, never where it redirects to. Raises
    TransportError for a URL that is none, ClientSettingError for a setting or a file that cannot be used.
    """

    def __init__(self, url: str, **settings: Unpack[ClientSettings]) -> None:
        known = ClientSettings.__optional_keys__
        if unknown := settings.keys() - known:
            raise TypeError(f"TimestampClient has no argument {min(unknown)!r}")
        self._url = timestamp_url(url)
        self.url = without_credentials(self._url)
        self._verifier = settings.get("verifier")
        self._window = settings.get("clock_window", DEFAULT_CLOCK_WINDOW)
        self._timeout = settings.get("timeout", 30.0)
        retries = settings.get("retries", 0)
        if retries < 0 or self._window.total_seconds() < 0:
            raise ClientSettingError("neither retries nor clock_window can be negative")
        headers, token_file = settings.get("headers"), settings.get("token_file")
        check_bearer_token(self._url, headers, token_file, over_http=settings.get("token_over_http", False))
        Deadline(self._timeout)  # says what is wrong with it
        self._transport = Transport(
            timeout=self._timeout,
            tls=tls(
                context=settings.get("ssl_context"),
                ca=settings.get("ca"),
                certificate=settings.get("client_certificate"),
                key=settings.get("client_key"),
            ),
            headers=header_source(headers, token_file, authorized=urlsplit(self._url).username is not None),
            retries=retries,
        )

    def __repr__(self) -> str:
        return f"TimestampClient({self.url!r})"

    def stamp(self, **arguments: Unpack[RequestArguments]) -> Timestamp:
        """Return a timestamp of an artifact or its digest; the arguments are those of RequestArguments.

        client.stamp(artifact="release.tar.gz")

        Raises RequestError, TimestampRefused, BadReply, a TransportError; OSError for an artifact that cannot be read.
        """
        return self.send(build_request(**arguments))

    def send(self, request: bytes, *, deadline: Deadline | None = None) -> Timestamp:
        """Return the answer to a request that was built before; errors as of `stamp`.

        `deadline`, which several calls may share, takes the place of the client's `timeout`.
        """
        sent = datetime.now(UTC)
        reply = self._transport.post(self._url, request, deadline=deadline)
        received = datetime.now(UTC)
        verified = None
        try:
            if self._verifier is not None:
                verified = self._verifier.verify_response(reply, request=request)
                info = verified.tst_info
            else:
                info = check_answer(reply, request)
            # The token's nonce is the request's: both calls have seen to it.
            has_nonce = info.nonce is not None
            warning = check_time(info.gen_time, nonce=has_nonce, sent=sent, received=received, window=self._window)
        except NotGranted as error:
            raise TimestampRefused(self.url, error) from error
        except VerificationError as error:
            raise BadReply(self.url, error) from error
        return Timestamp(
            url=self.url,
            request=request,
            reply=reply,
            tst_info=info,
            verified=verified,
            warnings=() if warning is None else (warning,),
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
