"""Where things are on an installing host. Part of the agent's import closure (Python 3.9, standard library)."""

REPOSITORY = "http://127.0.0.1:7070/"  # the agent's proxy (docs/protocol.md, section 8)
AGENT = "/run/avalanche/agent.pyz"
