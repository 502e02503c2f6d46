"""The types of arguments of `timestamp-server audit`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import ConfigError, read_file
from tsa_core.api.trail import Link, parse_link

_MAX_LINK_OCTETS: Final = 1024


class LinkType(click.ParamType[Link]):
    """A line of the trail, as `verify` prints it: NUMBER:HASH, or a file that holds it."""

    name = "number:hash|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Link:
        """Return the link."""
        if link := parse_link(str(value)):
            return link
        try:
            data = read_file(Path(str(value)), "head of a trail", limit=_MAX_LINK_OCTETS)
        except (ConfigError, ValueError) as error:
            self.fail(
                f"{value!r} is not a line's number, a colon and its hash, as `audit verify` prints them, and no file "
                f"that can be read: {error}",
                param,
                ctx,
            )
        text = data.decode("ascii", "replace")
        if not (link := parse_link(text.strip())):
            self.fail(f"the file {value!r} does not hold NUMBER:HASH", param, ctx)
        return link


class Moment(click.ParamType[datetime]):
    """A time, in UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; write it as 2026-11-22T15:50:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Interval(click.ParamType[tuple[datetime, datetime]]):
    """Two times with a slash between them, as ISO 8601 has it."""

    name = "time/time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[datetime, datetime]:
        """Return both."""
        first, slash, second = str(value).partition("/")
        if not slash:
            self.fail(f"{value!r} is not TIME/TIME; write 2026-11-01/2026-12-01", param, ctx)
        since, until = (Moment().convert(each, param, ctx) for each in (first, second))
        if since >= until:
            self.fail(f"{value!r}: the first time must be before the second", param, ctx)
        return since, until


class SerialNumber(click.ParamType[int]):
    """The serial number of a token, in hexadecimal, with or without 0x and colons."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        text = str(value).removeprefix("0x").replace(":", "")
        if not re.fullmatch(r"[0-9A-Fa-f]{1,64}", text, re.ASCII):
            self.fail(f"{value!r} is no serial number in hexadecimal", param, ctx)
        return int(text, 16)


class Digest(click.ParamType[bytes]):
    """A digest, in hexadecimal, with or without colons."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the digest."""
        text = str(value).replace(":", "")
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2}){16,64}", text, re.ASCII):
            self.fail(f"{value!r} is no digest in hexadecimal; sha256sum FILE prints one", param, ctx)
        return bytes.fromhex(text)
