"""Reads a certificate template: Go's template language, then JSON, then fields; errors name the file and the line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from tsa_core.api import ConfigError, one_line
from tsa_core.api.setting_errors import setting_error
from tsa_core.certs.maker.go_template import Rendered, render
from tsa_core.certs.maker.located_json import JsonError, Place, parse_json
from tsa_core.certs.maker.template_fields import PARTS, WITHOUT_EFFECT, Part, TemplateFields


@dataclass(frozen=True, kw_only=True)
class TemplateSource:
    """Where a template came from, and where in it each field stands."""

    where: str
    rendered: Rendered
    places: Mapping[Place, int]

    def error(self, place: Place, text: str, *, name: str | None = None) -> ConfigError:
        """Return the error to raise for the field at `place`, or for the nearest one above that stands there."""
        known = place
        while known and known not in self.places:
            known = known[:-1]
        line = self.rendered.line_of(self.places.get(known, 0))
        field = name or ".".join(map(str, place))
        return ConfigError(one_line(f"{field}: {text}" if field else text), path=f"{self.where}, line {line}")


def read_template(text: str, *, where: str, common_name: str) -> tuple[TemplateFields, TemplateSource]:
    """Return the fields of a template for this common name, which may be empty; raises ConfigError."""
    rendered = render(text, {"Subject": {"CommonName": common_name}}, where=where)
    try:
        value, places = parse_json(rendered.text)
    except JsonError as error:
        line = rendered.line_of(error.offset)
        raise ConfigError(one_line(f"the template yields no JSON: {error}"), path=f"{where}, line {line}") from None
    source = TemplateSource(where=where, rendered=rendered, places=places)
    try:
        return TemplateFields.model_validate(value), source
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        location = problem["loc"]
        place = tuple(part.lower() if isinstance(part, str) else part for part in location)
        if problem["type"] == "extra_forbidden":
            message = _unknown(location)
        elif problem["type"] in {"model_type", "model_attributes_type"}:
            message = "an object { ... } is needed"
        else:
            message = setting_error(problem)
        raise source.error(place, message, name=".".join(map(str, location)) or "the template") from None


def _unknown(location: tuple[int | str, ...]) -> str:
    name = str(location[-1])
    if len(location) == 1:
        refused = {each.lower(): reason for each, reason in WITHOUT_EFFECT.items()}
        if reason := refused.get(name.lower()):
            return f"a template cannot say this here: {reason}"
    names = _part_at(location[:-1]).names()
    near = difflib.get_close_matches(name, names, n=1)
    return f"the field is not known; did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _part_at(location: tuple[int | str, ...]) -> type[Part]:
    """Return the model of the object at a location."""
    part: type[Part] = TemplateFields
    for name in location:
        if isinstance(name, str):
            part = PARTS[name]
    return part
