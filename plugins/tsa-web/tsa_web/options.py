"""The page's settings."""

from __future__ import annotations

from pydantic import Field

from tsa_core.api import PluginOptions


class WebOptions(PluginOptions):
    """`[routes.web]`."""

    title: str = Field(
        "Timestamp authority", min_length=1, max_length=80, description="the page's heading, your authority's name"
    )
    operator: str = Field("", max_length=200, description="who runs it, in a sentence at the end of the page")
