"""The guard for programs that are not asyncio."""

from backstop.sync.manager import CriticalSystemManager

__all__ = ["CriticalSystemManager"]
