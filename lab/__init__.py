"""The lab: virtual clusters on one machine, with real packages, real links and a real installer's order of events."""
