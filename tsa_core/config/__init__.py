"""The core's settings: the models, and the loader that merges flags, environment and file."""

from tsa_core.config.fallback import Fallback
from tsa_core.config.load import CONFIG_VARIABLE, DEFAULT_PROFILE, Settings, load_settings
from tsa_core.config.log_and_metrics import LogSettings, MetricsSettings
from tsa_core.config.models import DEFAULT_POLICY, ProfileSettings, ServerSettings
from tsa_core.config.sections import ClockSettings, PluginSection, PluginTable

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_POLICY",
    "DEFAULT_PROFILE",
    "ClockSettings",
    "Fallback",
    "LogSettings",
    "MetricsSettings",
    "PluginSection",
    "PluginTable",
    "ProfileSettings",
    "ServerSettings",
    "Settings",
    "load_settings",
]
