"""Object identifiers in dotted form, by the names their standards give them."""

from __future__ import annotations

from typing import Final

# RFC 5652 and RFC 3161
ID_DATA: Final = "1.2.840.113549.1.7.1"
ID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
ID_CT_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"

# Attributes of a SignerInfo: RFC 5652, RFC 2634, RFC 5035, RFC 6211
ID_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
ID_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
ID_SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
ID_AA_SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
ID_AA_SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
ID_AA_CMS_ALGORITHM_PROTECT: Final = "1.2.840.113549.1.9.52"

# Hashes: FIPS 180-4 and FIPS 202
MD5: Final = "1.2.840.113549.2.5"
SHA1: Final = "1.3.14.3.2.26"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
SHA224: Final = "2.16.840.1.101.3.4.2.4"
SHA3_256: Final = "2.16.840.1.101.3.4.2.8"
SHA3_384: Final = "2.16.840.1.101.3.4.2.9"
SHA3_512: Final = "2.16.840.1.101.3.4.2.10"
SHAKE256: Final = "2.16.840.1.101.3.4.2.12"
SHAKE256_LEN: Final = "2.16.840.1.101.3.4.2.18"

# Signatures: RFC 3370, RFC 4055, RFC 5754, RFC 8410, RFC 9882
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
ID_MGF1: Final = "1.2.840.113549.1.1.8"
ID_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
SHA256_WITH_RSA: Final = "1.2.840.113549.1.1.11"
SHA384_WITH_RSA: Final = "1.2.840.113549.1.1.12"
SHA512_WITH_RSA: Final = "1.2.840.113549.1.1.13"
ECDSA_WITH_SHA256: Final = "1.2.840.10045.4.3.2"
ECDSA_WITH_SHA384: Final = "1.2.840.10045.4.3.3"
ECDSA_WITH_SHA512: Final = "1.2.840.10045.4.3.4"
ID_ED25519: Final = "1.3.101.112"
ID_ED448: Final = "1.3.101.113"
ID_ML_DSA_44: Final = "2.16.840.1.101.3.4.3.17"
ID_ML_DSA_65: Final = "2.16.840.1.101.3.4.3.18"
ID_ML_DSA_87: Final = "2.16.840.1.101.3.4.3.19"

SIGSTORE_TIMESTAMP_POLICY: Final = "1.3.6.1.4.1.57264.2"
"""The policy of Sigstore's timestamp server, and ours unless another is configured."""

# ETSI EN 319 422
ID_PE_QC_STATEMENTS: Final = "1.3.6.1.5.5.7.1.3"
ESI4_QTST_STATEMENT_1: Final = "0.4.0.19422.1.1"

ID_REVOCATION_INFO_ARCHIVAL: Final = "1.2.840.113583.1.1.8"  # ISO 32000-1 12.8.3.3.2: adbe-revocationInfoArchival
