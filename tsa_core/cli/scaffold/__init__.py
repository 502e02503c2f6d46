"""`timestamp-server plugins new`: writes a complete distribution that passes its own tests at once."""

from tsa_core.cli.scaffold.new import new

__all__ = ["new"]
