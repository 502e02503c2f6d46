"""ResponseProcessorContract: what the core demands of those who work on replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tsa_core.api import HealthStatus, PluginOptions, Provider, RequestRejected, ResponseProcessor, TokenDraft, TsaError
from tsa_core.protocol import der
from tsa_core.protocol.response import signed_parts
from tsa_core.testing.fakes import FakeSigner
from tsa_core.testing.latency import check_latency
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised
from tsa_core.testing.samples import sample_draft
from tsa_core.testing.threads import on_threads
from tsa_core.testing.tokens import check_with_openssl, issue_token


class ResponseProcessorContract(PluginFixtures):
    """Subclass it as TestProcessor; override `plugin`, and `options` where the processor needs settings.

    One that can fail (a full disk) may override `failing_processor`, to prove that it withholds the reply properly.
    """

    @pytest.fixture
    def open_processor(
        self, provider: Provider[ResponseProcessor], validated_options: PluginOptions
    ) -> Iterator[Callable[[], ResponseProcessor]]:
        """Return a function that opens the processor through its provider."""
        opened: list[ResponseProcessor] = []

        def open_one() -> ResponseProcessor:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for processor in opened:
            processor.close()

    @pytest.fixture
    def processor(self, open_processor: Callable[[], ResponseProcessor]) -> ResponseProcessor:
        """Return the opened processor."""
        return open_processor()

    @pytest.fixture
    def failing_processor(self) -> ResponseProcessor | None:
        """Return a processor that cannot do its work and withholds replies because of it; None when there is none."""
        return None

    @pytest.fixture
    def draft(self) -> TokenDraft:
        """Return the draft that the processor extends."""
        return sample_draft()

    @pytest.fixture
    def response(self, tmp_path: Path) -> bytes:
        """Return a granted reply that no processor has touched."""
        return issue_token(FakeSigner(), tmp_path).response

    def test_is_a_processor(self, processor: ResponseProcessor) -> None:
        assert isinstance(processor, ResponseProcessor), "what `open` returns must extend ResponseProcessor"

    def test_claimed_extensions_are_object_identifiers(self, processor: ResponseProcessor) -> None:
        assert isinstance(processor.request_extensions, frozenset), "request_extensions is a frozenset of OIDs"
        for oid in processor.request_extensions:
            der.oid(oid)

    def test_added_extensions_are_der(self, processor: ResponseProcessor, draft: TokenDraft) -> None:
        try:
            extensions = list(processor.extend(draft))
        except RequestRejected:
            return
        for extension in extensions:
            tag, start, end = der.read(extension, 0, len(extension))
            assert (tag, end) == (der.SEQUENCE, len(extension)), f"{extension.hex()} is not one Extension"
            tag, _, after = der.read(extension, start, end)
            assert tag == der.OBJECT_IDENTIFIER, f"{extension.hex()} does not begin with an identifier"
            assert der.read(extension, after, end)[0] in {der.BOOLEAN, der.OCTET_STRING}

    def test_signed_bytes_stay(self, processor: ResponseProcessor, response: bytes, draft: TokenDraft) -> None:
        processed = processor.process(response, draft)
        assert isinstance(processed, bytes), f"process returned {type(processed).__name__}, not bytes"
        assert signed_parts(processed) == signed_parts(response), "process changed bytes under the signature"

    def test_local_processor_does_not_wait(
        self, processor: ResponseProcessor, response: bytes, draft: TokenDraft
    ) -> None:
        serials = count(draft.serial_number)

        def extend_and_process() -> None:
            each = replace(draft, serial_number=next(serials))  # no token is given twice
            with suppress(RequestRejected):
                list(processor.extend(each))
                processor.process(response, each)

        check_latency(processor.latency, extend_and_process, doing="extend or process")

    def test_processed_token_verifies(self, processor: ResponseProcessor, tmp_path: Path) -> None:
        check_with_openssl(issue_token(FakeSigner(), tmp_path, processors=[processor]), tmp_path)

    def test_processes_on_many_threads(self, processor: ResponseProcessor, response: bytes) -> None:
        drafts = [sample_draft(serial_number=number + 1) for number in range(64)]
        processed = on_threads(lambda draft: processor.process(response, draft), drafts)
        assert all(signed_parts(reply) == signed_parts(response) for reply in processed)

    def test_failure_is_an_error_of_ours(
        self, failing_processor: ResponseProcessor | None, response: bytes, draft: TokenDraft
    ) -> None:
        if failing_processor is not None:
            raised(
                TsaError,
                lambda: failing_processor.process(response, draft),
                doing="processing with a processor that cannot work",
                remedy="catch it and raise TsaError with a text for the operator's log",
            )

    def test_opened_processor_is_healthy(
        self, processor: ResponseProcessor, response: bytes, draft: TokenDraft
    ) -> None:
        status = processor.health()
        assert isinstance(status, HealthStatus), f"health() returned {type(status).__name__}, not HealthStatus"
        assert status.healthy, "health() says that replies cannot pass, before one has failed"
        try:
            processor.process(response, draft)
        except RequestRejected:
            return
        assert processor.health().healthy, "health() says that replies cannot pass, but process() let one pass"

    def test_processor_that_cannot_work_says_so_without_a_request(
        self, failing_processor: ResponseProcessor | None
    ) -> None:
        if failing_processor is None:
            return
        status = failing_processor.health()
        assert not status.healthy, (
            "health() says that replies pass, and they cannot: /readyz would be green while no token leaves. "
            "Override health(), and let it try what process() does"
        )
        assert status.reason, "health() must say why not, in one line that everybody may see"

    def test_close_twice(self, open_processor: Callable[[], ResponseProcessor]) -> None:
        processor = open_processor()
        processor.close()
        processor.close()
        assert isinstance(processor.health(), HealthStatus), "health() may still be called once after close()"
