"""Makes certificate chains from templates, as Sigstore's Certificate Maker does, with any signer's keys.

The templates are the reference system's: JSON with the actions of Go's text/template.
"""

from __future__ import annotations

from tsa_core.certs.maker.certificate_template import CertificateTemplate, Role, default_template
from tsa_core.certs.maker.key_families import refuse_mixed_keys
from tsa_core.certs.maker.making import Maker, judge_made

__all__ = ["CertificateTemplate", "Maker", "Role", "default_template", "judge_made", "refuse_mixed_keys"]
