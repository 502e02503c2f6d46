"""HTTP: the Falcon application, its resources and the server that runs it. The only room that knows Falcon."""

from tsa_core.http.app import create_app

__all__ = ["create_app"]
