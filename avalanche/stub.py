"""The stub kickstart: the first file an installer reads (docs/protocol.md, section 2).

It carries one Python ``%pre`` and one ``%include``. The ``%pre`` fetches the agent bundle, checks it against its hash,
starts its keeper detached and waits until the agent says that the kickstart is ready, or why not. It needs nothing but
the installer's own Python, because nothing of ours is on the host yet.
"""

from __future__ import annotations

from avalanche.messages import StubDocument
from avalanche.places import AGENT

RUN = AGENT.rpartition("/")[0]
"""Where everything of ours lives on an installing host."""

WAIT_SECONDS = 900
"""How long the ``%pre`` waits for the kickstart before it gives up with a reason."""


def render_stub(document: StubDocument, *, run: str = RUN, wait_seconds: float = WAIT_SECONDS) -> str:
    """Write the stub kickstart for one install order.

    Args:
        document: what the ``%pre`` has to know.
        run: the run directory; another one than `RUN` only where no installer runs.
        wait_seconds: after so many seconds without a kickstart the ``%pre`` fails.

    Returns:
        ASCII text. No value of ``document`` can end the script or begin a line: JSON escapes line ends and everything
        outside ASCII, and ``!a`` quotes what is left.
    """
    values = {"DOCUMENT": document.to_json(), "RUN": run, "SECONDS": wait_seconds}
    settings = "".join(f"{name} = {value!a}\n" for name, value in values.items())
    return _HEAD + settings + _SCRIPT + f"%end\n%include {run}/ks.cfg\n"


_HEAD = """\
# Avalanche stub kickstart. The %pre below fetches the agent, which renders the kickstart of this host.
%pre --erroronfail --log=/tmp/avalanche-pre.log --interpreter=/usr/bin/python3
"""

# The installer waits until every descriptor of a script is closed, and its image has neither setsid nor nohup: that is
# why the agent gets a session, a log file and /dev/null, and inherits nothing.
_SCRIPT = r'''
import hashlib, http.client, json, os, random, socket, subprocess, sys, time, urllib.error, urllib.request

ORDER = json.loads(DOCUMENT)
LARGEST = 8 << 20  # bytes of a bundle
STARTED = time.monotonic()


def left():
    return SECONDS - (time.monotonic() - STARTED)


def fail(reason):
    print("avalanche: " + reason, flush=True)
    sys.exit(1)


def put(name, data):
    """Write a file of the run directory in one step, for root alone."""
    path = os.path.join(RUN, name)
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(path + ".new", path)


def text_of(name):
    try:
        with open(os.path.join(RUN, name), encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:].strip()
    except OSError:
        return ""


def last_words():
    return (text_of("agent.log").splitlines() or ["agent.log is empty"])[-1]


def ask(address):
    """Return (bundle, None, 0), or (None, what went wrong, seconds to wait or None when asking again is no use)."""
    try:
        url = "%s/install/bundle/%s" % (address, ORDER["bundle"])
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        data = b""
        with opener.open(url, timeout=10) as answer:
            while len(data) <= LARGEST and left() > 0:
                piece = answer.read(65536)
                if not piece:
                    break
                data += piece
        if hashlib.sha256(data).hexdigest() == ORDER["bundle"]:
            return data, None, 0
        return None, "%s: %d bytes with another SHA-256 than the order's" % (url, len(data)), 0
    except urllib.error.HTTPError as error:
        wait = error.headers.get("Retry-After", "")
        problem = "%s: %d %s" % (url, error.code, error.read(300).decode("utf-8", "replace").strip())
        # A host to which the frontend has sent us says nothing about the frontend.
        again = error.code in (500, 502, 503, 504) or error.geturl() != url
        return None, problem, (min(float(wait), 60) if wait.isdigit() else 0) if again else None
    except (OSError, http.client.HTTPException) as error:
        return None, "%s: %s" % (address, error), 0


def fetch_bundle():
    backoff = 0.2
    while True:
        answers = []
        for address in ORDER["http"]:
            answers.append(ask(address))
            if answers[-1][0] is not None:
                return answers[-1][0]
        problem = "the agent bundle cannot be fetched: " + "; ".join(answer[1] for answer in answers)
        waits = [answer[2] for answer in answers if answer[2] is not None]
        if not waits or left() <= 0:
            fail(problem)
        print("avalanche: %s; trying again" % problem, flush=True)
        time.sleep(max(0, min(left(), max(waits) + backoff * random.uniform(0.5, 1.5))))
        backoff = min(5, backoff * 2)


def order_running():
    """The order of the agent that answers on its socket, or None."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(os.path.join(RUN, "agent.sock"))
            line.sendall(b'{"command": "status"}\n')
            return json.loads(line.makefile("rb").readline(65536))["order"]
    except (OSError, ValueError, KeyError):
        return None


def start():
    put("agent.pyz", fetch_bundle())
    for name in ("ready", "failed", "ks.cfg", "plan.json"):
        if os.path.exists(os.path.join(RUN, name)):
            os.remove(os.path.join(RUN, name))
    put("order.json", DOCUMENT.encode("ascii"))
    log = os.open(os.path.join(RUN, "agent.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    command = [sys.executable, "-I", "-S", os.path.join(RUN, "agent.pyz"), "keep", "--run", RUN]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, close_fds=True
    )


def is_alive(agent):
    return order_running() == ORDER["order"] if agent is None else agent.poll() is None


def wait(agent):
    while True:
        alive = is_alive(agent)  # asked first: what an agent wrote before it ended is read below
        if text_of("ready"):
            return
        if text_of("failed"):
            fail(text_of("failed"))
        if not alive:
            fail("the agent ended without a kickstart: " + last_words())
        if left() <= 0:
            said = last_words()  # before the agent's word of farewell
            if agent is not None:
                agent.terminate()
            fail("no kickstart after %d s: %s" % (SECONDS, said))
        time.sleep(0.2)


os.makedirs(RUN, mode=0o700, exist_ok=True)
os.chmod(RUN, 0o700)
running = order_running()
if running not in (None, ORDER["order"]):
    fail("an agent of order %s is running on this host; reboot it to install order %s" % (running, ORDER["order"]))
wait(None if running else start())
print("avalanche: the kickstart of %s is ready" % ORDER["host"], flush=True)
'''
