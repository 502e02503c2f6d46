"""Serves the public files below `/log/ORIGIN/`, as any web server or CDN could."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tsa_core.api import ConfigError, Route, RouteReply, RouteRequest, Routes
from tsa_core.api.transparency import EncodingError, tile_at
from tsa_log.options import LogRoutesOptions
from tsa_log.state import WRITER
from tsa_log.storage import CHECKPOINT, LocalStorage, served_as

_MINUTE: Final = re.compile(r"checkpoints/[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9]{4}", re.ASCII)


class LogRoutes(Routes):
    """Answers what the log's directory holds. Names are checked before a file is looked for."""

    def __init__(self, options: LogRoutesOptions) -> None:
        """Look whether there are files to serve; raises ConfigError for a log that is in a bucket."""
        if (options.directory / "private" / WRITER).exists():
            raise ConfigError(
                "the log's files are in a bucket, which serves them itself; remove `log` from the plugins of [routes]",
                path="routes.log.directory",
            )
        self._storage = LocalStorage(options.directory / "public")
        self._prefix = f"/log/{options.origin}"

    def routes(self) -> Sequence[Route]:
        """Return the paths."""
        return [
            Route(path=f"{self._prefix}/checkpoint", answer=self._checkpoint),
            Route(path=f"{self._prefix}/tile/{{name:path}}", answer=self._tile),
            Route(path=f"{self._prefix}/checkpoints/{{day}}/{{minute}}", answer=self._minute),
        ]

    def _checkpoint(self, _request: RouteRequest) -> RouteReply:
        return self._file(CHECKPOINT)

    def _minute(self, request: RouteRequest) -> RouteReply:
        path = f"checkpoints/{request.parameters['day']}/{request.parameters['minute']}"
        if not _MINUTE.fullmatch(path):
            return RouteReply(status=404, body=b"no such minute\n")
        return self._file(path)

    def _tile(self, request: RouteRequest) -> RouteReply:
        try:
            tile = tile_at(f"tile/{request.parameters['name']}")
        except EncodingError:
            return RouteReply(status=404, body=b"no such tile\n")
        return self._file(tile.path)

    def _file(self, path: str) -> RouteReply:
        try:
            data = self._storage.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return RouteReply(status=404, body=b"there is no such file in the log\n")
        served = served_as(path)
        return RouteReply(body=data, content_type=served.content_type, cache=served.cache)
