"""Every error Avalanche raises on purpose, in families that answer *who can fix it*.

::

    AvalancheError
    |-- ConfigError                  the operator wrote it
    |-- DefinitionError              a roll author wrote it               (.file, .line)
    |   |-- GraphError  NodeFileError  ConditionError  ProfileError
    |   |-- UndefinedAttribute  KickstartRefused  Unsatisfiable
    |-- ClusterError                 the inventory says no
    |   |-- UnknownHost  DuplicateHost  IdentityConflict
    |   |-- OrderRefused             there is no live order for this
    |-- RepositoryError              the packages we were given are bad
    |   |-- VerificationFailed       bytes are not what the manifest says (.path, .piece)
    |   |-- StoreFull
    |-- TransferError                we could not get it, now
    |   |-- SourceUnavailable  TransferTimeout
    |-- ProtocolError                the other side broke the protocol

An error that one module alone raises and one caller tells apart stands beside that module, under one of these
families. ``str(error)`` is the one line a person reads. Misuse by our own code is ``TypeError`` or ``AssertionError``,
never one of these.
"""

from __future__ import annotations

from typing import Optional


class AvalancheError(Exception):
    """Something went wrong that a person can understand and mend."""


class ConfigError(AvalancheError):
    """A setting is wrong; the message names file and key."""


class DefinitionError(AvalancheError):
    """A graph or node file is wrong.

    Args:
        message: what is wrong and what to do.
        file: the file as its author knows it, or None when there is none.
        line: line in that file, counted from 1.
    """

    def __init__(self, message: str, *, file: Optional[str] = None, line: Optional[int] = None) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        if self.line is None:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{self.line}: {self.message}"


class GraphError(DefinitionError):
    """An edge, an order pair or a graph file is wrong."""


class NodeFileError(DefinitionError):
    """A node file is malformed or asks for something that does not exist."""


class ConditionError(DefinitionError):
    """A condition cannot be understood."""


class ProfileError(DefinitionError):
    """A profile document is malformed."""


class UndefinedAttribute(DefinitionError):
    """A node file refers to an attribute the host does not have."""


class KickstartRefused(DefinitionError):
    """pykickstart refuses the rendered kickstart."""


class Unsatisfiable(DefinitionError):
    """A package request of a node file cannot be met by the generation."""


class ClusterError(AvalancheError):
    """The inventory says no."""


class UnknownHost(ClusterError):
    """No host has this name or address."""


class DuplicateHost(ClusterError):
    """A name, MAC or IP address is taken."""


class IdentityConflict(ClusterError):
    """Two hints of one request name two hosts."""


class OrderRefused(ClusterError):
    """There is no live install order that permits this."""


class RepositoryError(AvalancheError):
    """Packages or repository data are not what they should be."""


class VerificationFailed(RepositoryError):
    """Bytes differ from the manifest.

    Args:
        path: the object's path in its generation.
        piece: index of the first bad piece, or None for the whole file.
    """

    def __init__(self, message: str, *, path: str, piece: Optional[int] = None) -> None:
        super().__init__(message)
        self.path = path
        self.piece = piece


class ManifestContradiction(VerificationFailed):
    """Every piece of an object is right and its SHA-256 is not: who sends it is innocent, and nobody has better."""


class StoreFull(RepositoryError):
    """The content store's file system is full."""


class TransferError(AvalancheError):
    """Bytes could not be fetched, now; another source or a later try may do."""


class SourceUnavailable(TransferError):
    """A source refused, broke off or cannot be reached.

    Args:
        retry_after: seconds the source asked us to wait, or None.
    """

    def __init__(self, message: str, *, retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TransferTimeout(TransferError):
    """A source was silent for too long."""


class ProtocolError(AvalancheError):
    """The other side sent something the protocol does not allow."""
