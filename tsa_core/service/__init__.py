"""Opens the plugins that the settings select, and the authority over them."""

from tsa_core.service.certificate_watch import CertificateWatch
from tsa_core.service.guards import GuardFailed, Guards
from tsa_core.service.live import LiveService
from tsa_core.service.material import Material, read_material
from tsa_core.service.opening import OpenedClock, open_clock, open_shared_signers, open_signer
from tsa_core.service.plugin_routes import HandlerOverdue, OpenedRoutes
from tsa_core.service.readiness_watch import ReadinessCheck
from tsa_core.service.selection import kind_text, selection, selection_text
from tsa_core.service.service import Service

__all__ = [
    "CertificateWatch",
    "GuardFailed",
    "Guards",
    "HandlerOverdue",
    "LiveService",
    "Material",
    "OpenedClock",
    "OpenedRoutes",
    "ReadinessCheck",
    "Service",
    "kind_text",
    "open_clock",
    "open_shared_signers",
    "open_signer",
    "read_material",
    "selection",
    "selection_text",
]
