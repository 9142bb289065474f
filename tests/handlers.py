"""pykickstart's handlers, whose commands are made when a kickstart names them.

``makeVersion`` makes all of them first, with a parser of options each: most of the time that reading a kickstart takes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pykickstart.base import BaseHandler
from pykickstart.version import returnClassForVersion


class _Commands(dict[str, Any]):
    """A handler's commands. It has all of its release; each comes to be when it is asked for."""

    def __init__(self, handler: Any) -> None:
        super().__init__()
        self._handler = handler

    def __contains__(self, name: object) -> bool:
        return name in self._handler.commandMap

    def __missing__(self, name: str) -> Any:
        self._handler.registerCommand(name, self._handler.commandMap[name])
        return self[name]


class _OnDemand(BaseHandler):
    """Mixed into the handler of a release: as ``handler.lang``, too, a command comes to be when it is asked for."""

    commandMap: dict[str, Any]
    dataMap: dict[str, Any]

    def _registerCommands(self, *_: object) -> None:
        self.commands = _Commands(self)
        for name, data in self.dataMap.items():
            self.registerData(name, data)

    def __getattr__(self, attribute: str) -> Any:
        for name, command in self.commandMap.items():
            if command.__name__.partition("_")[2].lower() == attribute:
                return self.commands[name]
        raise AttributeError(attribute)


@cache
def _class_of(version: str) -> type[Any]:
    return type(version, (_OnDemand, returnClassForVersion(version)), {})


def handler_of(version: str) -> Any:
    """Return what reads as ``makeVersion(version)`` does."""
    return _class_of(version)()
