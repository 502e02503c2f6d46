"""Writes the page: the template's names are replaced, and every value is escaped where it is put in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from string import Template

from tsa_core.api import ClockReport, ProfileReport
from tsa_web.certificates import der_certificates, fingerprint
from tsa_web.options import WebOptions

_GROUP = 4
"""Hex digits of a fingerprint that stand together, so that people can compare them."""


class PageWriter:
    """Makes the page from its template. The state is in it, so it is readable without a script."""

    def __init__(self, template: str, options: WebOptions, folder: str) -> None:
        self._template = Template(template)
        self._fixed = {
            "title": escape(options.title),
            "operator": f'<p class="operator">{escape(options.operator)}</p>' if options.operator else "",
            "assets": escape(folder),
        }

    def write(self, profiles: Sequence[ProfileReport], clock: ClockReport, address: str) -> str:
        """Return the page as it is now; `address` is the server's, as the client sees it."""
        reasons = list(dict.fromkeys(reason for profile in profiles for reason in profile.stopped_by))
        stopped = [profile for profile in profiles if profile.stopped_by]
        return self._template.substitute(
            self._fixed,
            state="stopped" if len(stopped) == len(profiles) else "partly" if stopped else "issuing",
            state_text=escape(_state_text(len(stopped), len(profiles))),
            reasons="".join(f"<p>{escape(reason)}</p>" for reason in reasons),
            clock=escape(clock.text),
            clock_state="good" if clock.trusted else "bad",
            profiles="".join(part for profile in profiles for part in _profile(profile, alone=len(profiles) == 1)),
            address=escape(address),
        )


def _state_text(stopped: int, profiles: int) -> str:
    if not stopped:
        return "Issuing timestamps"
    return "Not issuing now" if stopped == profiles else "Some profiles are not issuing now"


def _profile(profile: ProfileReport, *, alone: bool) -> Iterator[str]:
    """Yield a profile's table: who signs, until when, and the root that people compare."""
    root = der_certificates(profile.certificate_chain)[-1]
    name = escape(profile.name)
    seconds = None if profile.accuracy is None else profile.accuracy.total_seconds()
    rows = [
        ("Signed by", escape(_spaced(profile.subject))),
        ("Issues until", f"<time>{profile.not_after:%Y-%m-%d}</time>"),
        ("Algorithm", escape(profile.algorithm)),
        ("Accuracy", "not stated" if seconds is None else f"{seconds:g} s"),
        ("Policy", "<br>".join(f"<code>{escape(policy)}</code>" for policy in profile.policies)),
        ("Root, SHA-256", f'<code class="fingerprint">{_grouped(fingerprint(root))}</code>'),
    ]
    if not alone:
        yield f"<h3>Profile {name}</h3>"
    yield "<dl>"
    for label, value in rows:
        yield f"<div><dt>{label}</dt><dd>{value}</dd></div>"
    yield "</dl>"
    yield f'<p class="links"><a href="./web/roots/{name}.pem" download>Root certificate</a>'
    yield f'<a href=".{escape(profile.path)}/certchain" download="{name}-chain.pem">Certificate chain</a></p>'


def _spaced(name: str) -> str:
    """Return a name of RFC 4514 with room after its commas, where lines may break."""
    return re.sub(r"(?<!\\),(?! )", ", ", name)


def _grouped(hexadecimal: str) -> str:
    """Return hex digits in groups, between which lines may break."""
    groups = [hexadecimal[start : start + _GROUP] for start in range(0, len(hexadecimal), _GROUP)]
    return "<wbr>".join(f"<span>{group}</span>" for group in groups)
