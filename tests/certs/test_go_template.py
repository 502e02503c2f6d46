"""The part of Go's template language that certificate templates are written in."""

from __future__ import annotations

import json

import pytest

from tsa_core.api import ConfigError
from tsa_core.certs.maker.go_template import Rendered, render

EXTENDED_KEY_USAGE = "MAoGCCsGAQUFBwMI"
"""SEQUENCE { OBJECT IDENTIFIER timeStamping }."""


def rendered(template: str, common_name: str = "tsa.example.com") -> Rendered:
    return render(template, {"Subject": {"CommonName": common_name}}, where="leaf.json")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no action", "no action"),
        ("{{ .Subject.CommonName }}", "tsa.example.com"),
        ("{{.Subject.CommonName}}{{/* a comment */}}!", "tsa.example.com!"),
        ("a {{- .Subject.CommonName -}} \n b", "atsa.example.comb"),
        ('{{ "}}" }}', "}}"),
        ("{{ `raw \\n` }}", "raw \\n"),
        ('{{ printf "%s Root" .Subject.CommonName }}', "tsa.example.com Root"),
        ('{{ printf "%q %v %d %%" "a" true 5 }}', '"a" true 5 %'),
        ('{{ or "" .Subject.CommonName "x" }}{{ and 1 "" 2 }}', "tsa.example.com"),
        ('{{ default "x" "" }}{{ default "x" .Subject.CommonName }}', "xtsa.example.com"),
        ("{{ upper .Subject.CommonName | lower | quote }}", '"tsa.example.com"'),
        ('{{ trim " a " }}{{ print 1 2 "b" 3 "c" "d" true false }}', "a1 2b3cdtrue false"),
        ("{{ toJson .Subject }}", '{"commonName": "tsa.example.com"}'),
        ('{{ if eq .Subject.CommonName "x" "tsa.example.com" }}yes{{ else }}no{{ end }}', "yes"),
        ("{{ if not .Subject.CommonName }}a{{ else if ne 1 2 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if false }}{{ if true }}a{{ else }}b{{ end }}{{ else }}c{{ end }}", "c"),
        ('{{ asn1Seq (asn1Enc "oid:1.3.6.1.5.5.7.3.8") | toJson }}', f'"{EXTENDED_KEY_USAGE}"'),
        ('{{ asn1Set (asn1Enc "int:5") (asn1Enc "bool:true") (asn1Enc "a") }}', "MQkCAQUBAf8TAWE="),
        ('{{ asn1Enc "utf8:é" }} {{ asn1Enc "ia5:@" }} {{ asn1Enc "numeric:1" }} {{ asn1Enc "raw:BQA=" }}',
         "DALDqQ== FgFA EgEx BQA="),
    ],
)  # fmt: skip
def test_values_functions_pipelines_and_if(template: str, text: str) -> None:
    assert rendered(template).text == text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("\n{{ .Subject.Country }}", "line 2: .Subject.Country is not known; there is .Subject.CommonName"),
        ("\n\n{{ asn1Enk 1 }}", "line 3: the function asn1Enk is not known; did you mean asn1Enc?"),
        ("{{ range .Subject }}{{ end }}", "line 1: range is not supported"),
        ("{{ $x := 1 }}", "line 1: '$x' is not supported"),
        ("{{ .Subject.CommonName", "line 1: this action is not closed by }}"),
        ('{{ "a }}', "line 1: this action is not closed by }}"),
        ("{{ (1 }}", "line 1: a bracket is not closed"),
        ("{{ 1) }}", "line 1: a bracket is closed that was not opened"),
        ("{{ }}", "line 1: a value or a function is missing"),
        ("{{ 1 | }}", "line 1: a value or a function is missing"),
        ("{{ 1 2 }}", "line 1: a value takes no arguments"),
        ("{{ print lower }}", "line 1: lower needs brackets here"),
        ("{{ upper }}", "line 1: upper does not take 0 argument(s) of this kind"),
        ("{{ toJson 1 2 }}", "line 1: toJson does not take 2 argument(s)"),
        ("x\n{{ if true }}", "line 2: this if has no end"),
        ("{{ end }}", "line 1: an end without an if"),
        ("{{ else }}", "line 1: an else without an if"),
        ("{{ if true }}{{ else }}{{ else }}{{ end }}", "line 1: an else without an if"),
        ('{{ fail "name the CA" }}', "line 1: fail: name the CA"),
        ('{{ asn1Enc "oid:1.x" }}', "line 1: asn1Enc: '1.x' is not an object identifier"),
        ('{{ asn1Enc "int:x" }}', "asn1Enc: 'x' is no whole number"),
        ('{{ asn1Enc "printable:é" }}', "has characters that a printable string cannot hold"),
        ('{{ asn1Enc "time:now" }}', "the type 'time' is not known; there are oid, int,"),
        ('{{ asn1Seq "%" }}', "asn1Seq: '%' is no base64"),
        ('{{ 1 | printf "%d" 2 }}', "printf: there are more values than verbs"),
        ('{{ printf "%d" }}', "printf: there is no value for %d"),
        ('{{ printf "%x" 1 }}', "printf: %x is not supported"),
        ("{{ " + "(" * 5000 + " }}", "more than 32 brackets in one another"),
        ("{{ if true }}" * 5000, "more than 32 ifs in one another"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(template: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rendered(template)
    assert str(caught.value).startswith("leaf.json, line ")
    assert complaint in str(caught.value)


def test_a_name_adds_no_fields_of_its_own() -> None:
    """Go inserts the text as it is, and the certificate would be of another organization."""
    name = 'x", "organization": ["Another Ltd'
    template = '{"subject": {"commonName": "CN \\"{{ .Subject.CommonName }}\\""}}'
    assert json.loads(rendered(template, name).text) == {"subject": {"commonName": f'CN "{name}"'}}


def test_lines_are_those_of_the_template() -> None:
    template = '{{- /* made by hand */ -}}\n\n{\n{{ if true }}\n"a": 1,\n{{ end -}}\n\n"b": "{{ "x\ny" }}"}'
    assert rendered(template.replace("x\ny", "x")).line_of(0) == 3
    done = rendered(template.replace('"x\ny"', "`x\ny`"))
    assert [done.line_of(done.text.index(text)) for text in ('"a"', '"b"')] == [5, 8]
