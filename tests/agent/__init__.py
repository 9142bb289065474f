"""Tests of the installing host's side. They run on Python 3.9 to 3.13, with what the agent's floor has and no more."""
