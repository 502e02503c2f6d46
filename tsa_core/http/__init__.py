"""The HTTP application, made with Falcon. No other package but wsgi imports Falcon, and `hosting` runs it."""

from tsa_core.http.app import create_app

__all__ = ["create_app"]
