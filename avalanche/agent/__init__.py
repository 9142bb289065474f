"""The installing host's side: renders the kickstart, feeds the installer its packages, reports how it goes.

Runs on Python 3.9 and newer inside the installer, from one zip file, with h11 beside the standard library.
"""
