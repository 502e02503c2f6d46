"""Trusted lists of a test's own (ETSI TS 119 612 V2.3.1), not signed yet, and the list that points to them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

LOTL = "https://lists.example.org/lotl.xml"
TL = "https://lists.example.org/tl.xml"
GRANTED = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/granted"
WITHDRAWN = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/withdrawn"
QUALIFIED = "http://uri.etsi.org/TrstSvc/Svctype/TSA/QTST"
NOT_QUALIFIED = "http://uri.etsi.org/TrstSvc/Svctype/TSA/TSS-QC"
_RULES = "http://uri.etsi.org/TrstSvc/TrustedList/schemerules"
_TYPES = "http://uri.etsi.org/TrstSvc/TrustedList/TSLType"
_NOW = datetime.now(UTC).replace(microsecond=0)


def _texts(element: str, text: str, *, uri: bool = False) -> str:
    inner = "URI" if uri else "Name"
    return f'<{element}><{inner} xml:lang="en">{escape(text)}</{inner}></{element}>'


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _certificate(certificate: x509.Certificate) -> str:
    encoded = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    return f"<DigitalId><X509Certificate>{encoded}</X509Certificate></DigitalId>"


def _address(element: str) -> str:
    return (
        f'<{element}><PostalAddresses><PostalAddress xml:lang="en"><StreetAddress>Street 1</StreetAddress>'
        "<Locality>Town</Locality><CountryName>DE</CountryName></PostalAddress></PostalAddresses>"
        '<ElectronicAddress><URI xml:lang="en">mailto:tl@example.org</URI>'
        f'<URI xml:lang="en">https://lists.example.org</URI></ElectronicAddress></{element}>'
    )


def _scheme(kind: str, territory: str, pointers: str) -> str:
    rules = f"{_RULES}/{'EUlistofthelists' if pointers else 'EUcommon'}"
    return (
        "<SchemeInformation><TSLVersionIdentifier>6</TSLVersionIdentifier>"
        f"<TSLSequenceNumber>1</TSLSequenceNumber><TSLType>{_TYPES}/{kind}</TSLType>"
        f"{_texts('SchemeOperatorName', 'Supervisory Body')}{_address('SchemeOperatorAddress')}"
        f"{_texts('SchemeName', f'{territory}:A list of a test')}"
        f"{_texts('SchemeInformationURI', 'https://lists.example.org/about', uri=True)}"
        "<StatusDeterminationApproach>http://uri.etsi.org/TrstSvc/TrustedList/StatusDetn/EUappropriate"
        f"</StatusDeterminationApproach>{_texts('SchemeTypeCommunityRules', rules, uri=True)}"
        f"<SchemeTerritory>{territory}</SchemeTerritory>"
        '<PolicyOrLegalNotice><TSLLegalNotice xml:lang="en">For a test alone.</TSLLegalNotice></PolicyOrLegalNotice>'
        f"<HistoricalInformationPeriod>65535</HistoricalInformationPeriod>{pointers}"
        f"<ListIssueDateTime>{_time(_NOW - timedelta(hours=1))}</ListIssueDateTime>"
        f"<NextUpdate><dateTime>{_time(_NOW + timedelta(days=30))}</dateTime></NextUpdate></SchemeInformation>"
    )


def _list(content: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<TrustServiceStatusList xmlns="http://uri.etsi.org/02231/v2#" Id="list" '
        f'TSLTag="http://uri.etsi.org/19612/TSLTag">{content}</TrustServiceStatusList>'
    ).encode()


def _pointer(url: str, kind: str, territory: str, signer: x509.Certificate) -> str:
    information = "".join(
        f"<OtherInformation>{each}</OtherInformation>"
        for each in (
            f"<TSLType>{_TYPES}/{kind}</TSLType>",
            f"<SchemeTerritory>{territory}</SchemeTerritory>",
            (
                '<ns3:MimeType xmlns:ns3="http://uri.etsi.org/02231/v2/additionaltypes#">'
                "application/vnd.etsi.tsl+xml</ns3:MimeType>"
            ),
            _texts("SchemeOperatorName", "Supervisory Body"),
            _texts(
                "SchemeTypeCommunityRules", "http://uri.etsi.org/TrstSvc/TrustedList/schemerules/EUcommon", uri=True
            ),
        )
    )
    return (
        "<OtherTSLPointer><ServiceDigitalIdentities><ServiceDigitalIdentity>"
        f"{_certificate(signer)}</ServiceDigitalIdentity></ServiceDigitalIdentities><TSLLocation>{url}</TSLLocation>"
        f"<AdditionalInformation>{information}</AdditionalInformation></OtherTSLPointer>"
    )


def list_of_lists(own_signer: x509.Certificate, list_signer: x509.Certificate) -> bytes:
    """Return the list of trusted lists, not signed: it points to itself and to `trusted_list`."""
    pointers = _pointer(LOTL, "EUlistofthelists", "EU", own_signer) + _pointer(TL, "EUgeneric", "DE", list_signer)
    return _list(_scheme("EUlistofthelists", "EU", f"<PointersToOtherTSL>{pointers}</PointersToOtherTSL>"))


def trusted_list(unit: x509.Certificate, *, kind: str = QUALIFIED, status: str = GRANTED) -> bytes:
    """Return a trusted list, not signed, with one service: time-stamping by the unit of this certificate."""
    service = (
        f"<TSPService><ServiceInformation><ServiceTypeIdentifier>{kind}</ServiceTypeIdentifier>"
        f"{_texts('ServiceName', 'Timestamps')}<ServiceDigitalIdentity>{_certificate(unit)}</ServiceDigitalIdentity>"
        f"<ServiceStatus>{status}</ServiceStatus>"
        f"<StatusStartingTime>{_time(_NOW - timedelta(hours=12))}</StatusStartingTime>"
        "</ServiceInformation></TSPService>"
    )
    provider = (
        f"<TrustServiceProvider><TSPInformation>{_texts('TSPName', 'Example Ltd')}"
        f"{_texts('TSPTradeName', 'VATDE-123456789')}{_address('TSPAddress')}"
        f"{_texts('TSPInformationURI', 'https://tsa.example.org', uri=True)}</TSPInformation>"
        f"<TSPServices>{service}</TSPServices></TrustServiceProvider>"
    )
    return _list(_scheme("EUgeneric", "DE", "") + f"<TrustServiceProviderList>{provider}</TrustServiceProviderList>")
