"""What a host of the benchmark does in an installer's place: ``boot.py STUB-URL INTERFACE MAC``.

It fetches the stub kickstart as dracut does, and runs its ``%pre``, which fetches and starts the real agent. Packages
are installed by nobody: what the agent has is what is measured.
"""

from __future__ import annotations

import sys
import urllib.request


def main() -> int:
    url, interface, mac = sys.argv[1:]
    request = urllib.request.Request(url, headers={"X-RHN-Provisioning-MAC-0": f"{interface} {mac}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        stub = answer.read().decode("ascii")
    # From the line after `%pre ...` to `%end`.
    script = stub[stub.index("\n%pre ") + 1 :].partition("\n")[2].partition("%end\n")[0]
    exec(compile(script, "stub", "exec"), {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
