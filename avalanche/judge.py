"""The judge: pykickstart, the installer's own parser, decides whether a kickstart is one.

Part of the agent's import closure: pykickstart is there on the installer's image, and imported when it is asked.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

from avalanche.errors import KickstartRefused

HANDLERS = {"el9": "RHEL9", "el10": "RHEL10", "fedora": "F43", "el8": "RHEL8", "el7": "RHEL7"}

_PLACE = re.compile(r"^The following problem occurred on line [0-9]+ of the kickstart file: ")
_NODE = re.compile(r"# from .*?: (?P<file>.*?)(?: line [0-9]+)? \(roll ")


class Judge:
    """pykickstart's parser of one release, for one kickstart. Making it takes longer than the parsing.

    Args:
        follow: read the files that ``%include`` names, which only exist on the host, after its ``<pre>`` scripts.

    Raises:
        KickstartRefused: the release is unknown.
        ImportError: pykickstart is missing.
    """

    def __init__(self, release: str, *, follow: bool = True) -> None:
        from pykickstart.parser import KickstartParser
        from pykickstart.version import makeVersion

        if release not in HANDLERS:
            raise KickstartRefused(f"unknown release {release!r}; choose one of {', '.join(HANDLERS)}")
        self._parser = KickstartParser(makeVersion(HANDLERS[release]), followIncludes=follow)

    def hear(self, text: str, *, secrets: Iterable[str] = ()) -> tuple[str, ...]:
        """Return pykickstart's warnings about the kickstart, a line each.

        Args:
            secrets: values that no message shows (``Attributes.secrets``).

        Raises:
            KickstartRefused: pykickstart refuses it; names the line, its command and the node file it comes from.
        """
        from pykickstart.errors import KickstartError

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self._parser.readKickstartFromString(text)
            except (KickstartError, ValueError) as error:
                raise KickstartRefused(_hide(_explain(error, text), secrets)) from None
        return tuple(_hide(" ".join(str(warning.message).split()), secrets) for warning in caught)


def judge_kickstart(text: str, *, release: str, follow: bool = True, secrets: Iterable[str] = ()) -> tuple[str, ...]:
    """Parse a kickstart as the installer of a release does. Arguments, result and errors are those of `Judge`."""
    return Judge(release, follow=follow).hear(text, secrets=secrets)


def _hide(message: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            message = message.replace(secret, "***").replace(repr(secret)[1:-1], "***")
    return message


def _explain(error: Exception, text: str) -> str:
    """Make one line of pykickstart's error; ValueError is how shlex refuses a quotation without an end."""
    reason = _PLACE.sub("", " ".join(str(error).split()))
    number = getattr(error, "lineno", None)
    if not number:
        return f"pykickstart refuses the kickstart: {reason}"
    lines = text.splitlines()[:number]
    words = lines[-1].split() if lines else []
    source = next((found["file"] for found in map(_NODE.match, reversed(lines)) if found), "the template")
    return f"pykickstart refuses line {number} ({words[0] if words else ''}, from {source}): {reason}"
