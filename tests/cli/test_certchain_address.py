"""What `timestamp-cli certchain` says of an address that is none."""

from __future__ import annotations

import pytest

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.certchain import chain_url


def test_half_an_ipv6_address_is_a_mistake_and_no_traceback() -> None:
    with pytest.raises(UsageMistake, match="--timestamp_server is not an http or https URL"):
        chain_url("http://[::1")
