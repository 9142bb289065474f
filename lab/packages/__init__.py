"""The package maker: a configured Debian root becomes a coherent, signed RPM repository."""
