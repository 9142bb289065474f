"""The tracker: who installs now, and who may fetch what from whom (docs/protocol.md, section 10).

A program of its own; the frontend embeds it. Its decisions (`chains`, `swarms`) are pure: clock and chance are
arguments, so that the lab's simulator runs the very same code.
"""
