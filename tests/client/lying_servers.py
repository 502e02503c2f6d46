"""The list of servers that lie: each is one way to hold, flood or mislead a client, and says how it must end.

The tests run them all, and `python -m bench.lying_servers` measures how long each takes and how much memory.
"""

from __future__ import annotations

# Each module puts its lies on the list when it is imported.
from tests.client import lies_about_connections, lies_about_http, lies_in_answers, lies_that_last
from tests.client.lying_server import LIES

__all__ = ["LIES", "lies_about_connections", "lies_about_http", "lies_in_answers", "lies_that_last"]
