"""The server: who asks, under which order, and what he gets. ``app`` wires it, ``server`` runs it."""
