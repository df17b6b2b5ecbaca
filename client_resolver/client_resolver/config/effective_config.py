"""The service config in effect: the channel's own, or the balancer's."""

import logging
from typing import Protocol
from weakref import ref

from client_resolver.config.service_config import ServiceConfig
from client_resolver.config.settings import Settings
from client_resolver.core.config import PoolConfig
from client_resolver.errors import ServiceConfigError
from client_resolver.telemetry.log import reason

__all__ = ["ConfigListener", "EffectiveConfig"]

_logger = logging.getLogger("client_resolver")


class ConfigListener(Protocol):
    """Receives each service config that takes effect."""

    def configure(self, config: ServiceConfig) -> None:
        """Use this service config from now on."""


class EffectiveConfig:
    """Holds a channel's service config, and tells each change to what it applies to.

    A shell serialises the calls of `adopt`. Any thread may call `add`.

    Args:
        settings: The channel's settings. If they have a service config, it never changes.

    Attributes:
        config: The service config that holds.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._adopted = ""
        self._told: set[ref[ConfigListener]] = set()
        self.config = settings.config

    def add(self, configured: ConfigListener) -> None:
        """Tell the config that holds, now and whenever it changes."""
        self._told.add(ref(configured, self._told.discard))
        told = None
        # Another config may be adopted meanwhile, and be passed on before the one read here.
        while told is not self.config:
            told = self.config
            configured.configure(told)

    def adopt(self, text: str) -> PoolConfig:
        """Adopt a list's service config. An invalid one is refused, and the last good one stays.

        Args:
            text: The service config as JSON. Empty: there is none, and the default holds.

        Returns:
            The part that is about backends, as it holds from now on.
        """
        if text != self._adopted and not self._settings.own_config:
            self._adopted = text
            try:
                config = self._settings.parse(text) if text else self._settings.config
            except Exception as error:  # noqa: BLE001
                # Also what a policy of the user's raises, or JSON that nests too deep.
                why = error if isinstance(error, ServiceConfigError) else reason(error)
                text = f"the balancer's service config is refused: {why}"
                _logger.warning(self._settings.explain(text))
            else:
                self.config = config
                for told in self._told.copy():
                    configured = told()
                    if configured is not None:
                        configured.configure(config)
        return self.config.pool
