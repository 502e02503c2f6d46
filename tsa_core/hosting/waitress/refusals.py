"""What waitress answers in place of the application: to a request that it cannot read, and when it crashes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from waitress.task import ErrorTask
from waitress.utilities import Error

from tsa_core.http.errors import error_body


class Refusal(Error):  # type: ignore[misc] # waitress has no types
    """A request that is refused unread; the connection is closed after the reply."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.code = status.value
        self.reason = status.phrase


class JsonErrorTask(ErrorTask):  # type: ignore[misc] # waitress has no types
    """Answers with the JSON that all errors have; waitress would send plain text."""

    def execute(self) -> None:
        """Write the reply."""
        error: Any = self.request.error
        content = error_body(error.code, str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.request.headers["CONNECTION"] = "close"  # else waitress promises a client of HTTP/1.0 to keep it
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)
