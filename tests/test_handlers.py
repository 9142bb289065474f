"""The handlers of tests read what pykickstart's own read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from avalanche.judge import HANDLERS
from tests.handlers import handler_of

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.ks"))
TEXTS = [path.read_text() for path in GOLDEN[::9]]
TEXTS += [
    "part / --size=1\nautopart\n",
    "no such command\n",
    "part /\n",
    "lang C\nlang\n",
    '%packages\na\n%end\n"lang" de\n',
]


def told(made: Any, text: str) -> str:
    """What a handler writes when it has read a text, or how it refuses it."""
    try:
        KickstartParser(made, followIncludes=False).readKickstartFromString(text)
    except KickstartError as error:
        return f"refused: {error}"
    for name in made.commandMap:
        assert made.commands[name]
    return str(made)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("release", HANDLERS)
def test_a_text_is_read_or_refused_as_by_the_release_s_own_handler(release: str) -> None:
    found = [told(makeVersion(HANDLERS[release]), text) for text in TEXTS]
    assert [told(handler_of(HANDLERS[release]), text) for text in TEXTS] == found
    assert 3 <= sum(answer.startswith("refused: ") for answer in found) < len(found)


def test_a_command_is_an_attribute_before_it_is_read() -> None:
    made = handler_of("RHEL9")
    assert (made.lang.lang, made.partition.partitions, made.lang.seen) == ("", [], False)
    assert made.commands["part"] is made.commands["partition"] is made.partition
    with pytest.raises(AttributeError):
        _ = made.nonsense
