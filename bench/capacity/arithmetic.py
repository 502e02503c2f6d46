"""Tables of what so many tokens a second take, from constants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.capacity.measured import KIND, Constants, Cost

DAY_SECONDS = 86_400
_WHOLE = "API keys, limit in Redis, rows in PostgreSQL"
RATES = (1, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One table: a title for a terminal, a name for the page."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def sheets(constants: Constants, *, rates: Iterable[int], busy: float, cores: int) -> list[Sheet]:
    """Return all tables. Machines are busy to the part `busy`, and a replica has so many cores."""
    return [
        _keys(constants),
        _audits(constants),
        _guards(constants),
        _worked(constants, rates, busy=busy, cores=cores),
        _other_keys(constants, max(rates), busy=busy),
    ]


def _keys(constants: Constants) -> Sheet:
    rows = [
        (
            kind,
            _number(constants.bare_us[kind]),
            _number(cost.server_us),
            f"{cost.server_us / constants.bare_us[kind]:.1f}",
            _count(1e6 / cost.server_us),
        )
        for kind, cost in constants.keys.items()
    ]
    return Sheet(
        name="keys",
        title=f"By key, without trail and guard, {constants.connections} connections",
        columns=("key", "bare signature, us", "CPU for a token, us", "in bare signatures", "tokens a second and core"),
        rows=rows,
    )


def _parts(constants: Constants, cost: Cost, name: str = "") -> tuple[str, ...]:
    # What a server does not use does a little for itself.
    return (
        _number(cost.server_us),
        f"{cost.server_us / constants.bare_us[KIND]:.1f}",
        _number(cost.database_us) if "PostgreSQL" in name else "",
        _number(cost.redis_us) if "Redis" in name else "",
        _count(cost.per_second),
        f"{cost.p99_ms:.0f} ms",
    )


_PARTS = ("server, us", "in bare signatures", "PostgreSQL, us", "Redis, us", "tokens/s, all on this machine", "p99")


def _audits(constants: Constants) -> Sheet:
    rows = [("none", *_parts(constants, constants.keys[KIND]), "", "")]
    for name, cost in constants.audits.items():
        growth = constants.growth[name]
        log = _count(growth.log) if growth.log else ""
        rows.append((name, *_parts(constants, cost, name), _count(growth.stored), log))
    return Sheet(
        name="audits",
        title=f"By audit trail, {KIND}, without a guard",
        columns=("trail", *_PARTS, "octets a token", "octets of WAL"),
        rows=rows,
    )


def _guards(constants: Constants) -> Sheet:
    assert constants.whole is not None
    rows = [
        ("none", *_parts(constants, constants.keys[KIND])),
        *((name, *_parts(constants, cost, name)) for name, cost in constants.guards.items()),
        (_WHOLE, *_parts(constants, constants.whole, _WHOLE)),
    ]
    return Sheet(name="guards", title=f"By guard, {KIND}", columns=("guard", *_PARTS), rows=rows)


def _worked(constants: Constants, rates: Iterable[int], *, busy: float, cores: int) -> Sheet:
    assert constants.whole is not None
    whole, growth = constants.whole, constants.growth["tsa-audit-sql, PostgreSQL"]
    rows = []
    for rate in rates:
        needed = rate * whole.server_us / 1e6 / busy
        rows.append(
            (
                f"{rate:,}",
                _cores(rate * constants.keys[KIND].server_us / 1e6 / busy),
                _cores(needed),
                f"{max(1, math.ceil(needed / cores)) + 1:,}",
                _cores(rate * whole.database_us / 1e6 / busy),
                _cores(rate * whole.redis_us / 1e6 / busy),
                _large(rate * DAY_SECONDS),
                _octets(rate * DAY_SECONDS * growth.stored),
                f"{_octets(rate * growth.log)}/s",
            )
        )
    return Sheet(
        name="worked",
        title=f"{KIND}; API keys, limits in Redis, rows in PostgreSQL; all cores {busy:.0%} busy",
        columns=(
            "tokens/s",
            "cores for these alone",
            "cores with guard and trail",
            f"replicas of {cores} cores, one spare",
            "cores of PostgreSQL",
            "cores of Redis",
            "rows a day",
            "stored a day",
            "WAL",
        ),
        rows=rows,
    )


def _other_keys(constants: Constants, rate: int, *, busy: float) -> Sheet:
    """Return the cores by key: with guard and trail, another key adds the difference of the signatures."""
    assert constants.whole is not None
    rows = []
    for kind, cost in constants.keys.items():
        added = constants.bare_us[kind] - constants.bare_us[KIND]
        rows.append(
            (
                kind,
                _cores(rate * cost.server_us / 1e6 / busy),
                _cores(rate * (constants.whole.server_us + added) / 1e6 / busy),
            )
        )
    return Sheet(
        name="other-keys",
        title=f"{rate:,} tokens a second by key; all cores {busy:.0%} busy",
        columns=("key", "cores for these alone", "cores with guard and trail"),
        rows=rows,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _count(value: float) -> str:
    """Return two significant digits: no two runs agree on more."""
    if value < 10:
        return f"{value:.0f}"
    places = -(int(math.log10(value)) - 1)
    return f"{round(value, places):,.0f}"


def _cores(value: float) -> str:
    return f"{math.ceil(value):,}" if value > 1 else f"{value:.2g}" if value >= 0.01 else "< 0.01"


def _large(value: float) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def _octets(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.2g} {unit}" if value < 100 * size else f"{value / size:,.0f} {unit}"
    return f"{value:.0f} B"
