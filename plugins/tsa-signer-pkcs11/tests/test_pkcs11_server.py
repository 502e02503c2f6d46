"""A whole server whose key is in a PKCS#11 token."""

from __future__ import annotations

import pytest

from tsa_backends.server_contract import Deployment, ServerContract
from tsa_backends.softhsm import PIN, SoftHsm


class TestPkcs11Server(ServerContract):
    """PKCS#11 keys have no versions, so there is nothing to rotate."""

    @pytest.fixture(params=["rsa-2048"])
    def deployment(self, request: pytest.FixtureRequest, softhsm: SoftHsm) -> Deployment:
        token = softhsm.make_token("TSA keys")
        public_key = softhsm.make_key(token, "tsa", request.param)
        return Deployment(
            uri=f"pkcs11:token=TSA%20keys;object=tsa?module-path={softhsm.module}",
            environment={**softhsm.environment, "TSA_SIGNER__PKCS11__PIN": PIN},
            public_key=public_key,
            start=softhsm.start,
            kill=softhsm.kill,
            # SoftHSM runs in the server's own process, where nothing can freeze it; the token goes away once more.
            freeze=softhsm.kill,
            thaw=softhsm.start,
            facts=["'tsa'", "id 0001", "'TSA keys', serial ", "CKM_", str(softhsm.module)],
            secrets=[PIN],
            disable=lambda: softhsm.in_token("no-sign", token, "tsa"),
            enable=lambda: softhsm.in_token("sign", token, "tsa"),
        )
