"""The API's description: OpenAPI 3.1, an HTML page made from it, and Swagger 2.0."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from tsa_core import __version__


def read_page(name: str) -> str:
    """Return a file of tsa_core/http/pages."""
    return (files("tsa_core.http") / "pages" / name).read_text(encoding="utf-8")


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the HTTP API."""
    document: dict[str, Any] = json.loads(read_page("openapi.json"))
    document["info"]["version"] = __version__
    return document


def swagger_document() -> dict[str, Any]:
    """Return the Swagger 2.0 document of the part that the Sigstore Timestamp Authority has, with its operationIds."""
    document: dict[str, Any] = json.loads(read_page("swagger.json"))
    document["info"]["version"] = __version__
    return document


def docs_page(document: Mapping[str, Any], *, style: str) -> str:
    """Return the HTML of /docs: every operation of the document. It contains no script."""
    info = document["info"]
    return Template(read_page("docs.html")).substitute(
        title=escape(info["title"]),
        description=escape(info["description"]),
        style=style,
        operations="\n".join(_operations(document)),
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'].capitalize())}</h2>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(document, method, path, operation)


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3 id="{escape(operation["operationId"])}"><code><span class="method">{method.upper()}</span> '
    yield f"{escape(path)}</code></h3>"
    yield f"<p>{escape(operation['summary'])}.</p>"
    if text := operation.get("description"):
        yield f"<p>{escape(text)}</p>"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolve(document, content["schema"])
        text = escape(schema.get("description", ""))
        yield f"<p>Send <code>{escape(media)}</code>{f': {text}' if text else ''}.</p>"
        if "properties" in schema:
            yield from _fields(schema)
        if "example" in content:
            yield f"<pre><code>{escape(json.dumps(content['example'], indent=2))}</code></pre>"
    yield '<div class="wide"><table><thead><tr><th scope="col">Reply</th><th scope="col">Type</th>'
    yield '<th scope="col">Meaning</th></tr></thead><tbody>'
    for status, given in operation["responses"].items():
        response = _resolve(document, given)
        types = ", ".join(f"<code>{escape(media)}</code>" for media in response.get("content", {}))
        yield f"<tr><td>{escape(status)}</td><td>{types}</td><td>{escape(response['description'])}</td></tr>"
    yield "</tbody></table></div>"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield '<div class="wide"><table><thead><tr><th scope="col">Field</th><th scope="col">Type</th>'
    yield '<th scope="col">Meaning</th></tr></thead><tbody>'
    for name, field in schema["properties"].items():
        kind = ", ".join(field["enum"]) if "enum" in field else field["type"]
        needed = "" if name in schema.get("required", ()) else ", optional"
        yield (
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}{needed}</td>"
            f"<td>{escape(field.get('description', ''))}</td></tr>"
        )
    yield "</tbody></table></div>"


def _resolve(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of a node's `$ref`, or the node itself when it has none."""
    if "$ref" not in node:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    result: Mapping[str, Any] = found
    return result
