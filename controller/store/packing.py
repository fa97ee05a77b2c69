"""Small JSON texts that are much alike, kept small: zlib with a dictionary that the store holds."""

from __future__ import annotations

import sqlite3
import zlib

_LEVEL = 6
_DICTIONARY_BYTES = 32_768
"""As far as zlib looks back."""


class Packer:
    """Compresses and restores the texts of one store.

    A record of one deployment is 2 to 4 KB, too little for zlib to learn from; with the first one ever
    written as dictionary, the next ones take a fifth of that.
    """

    def __init__(self, dictionary: bytes) -> None:
        self._dictionary = dictionary

    @property
    def has_dictionary(self) -> bool:
        """Whether there is one; what was packed before it came is still restored."""
        return bool(self._dictionary)

    def pack(self, text: bytes) -> bytes:
        """Compress."""
        packer = zlib.compressobj(_LEVEL, zdict=self._dictionary) if self._dictionary else zlib.compressobj(_LEVEL)
        return packer.compress(text) + packer.flush()

    def unpack(self, packed: bytes) -> bytes:
        """Restore. Raises ``zlib.error`` for what ``pack`` did not make."""
        unpacker = zlib.decompressobj(zdict=self._dictionary) if self._dictionary else zlib.decompressobj()
        return unpacker.decompress(packed) + unpacker.flush()


def stored_packer(connection: sqlite3.Connection) -> Packer:
    """Return the packer of a store; one without a dictionary before the first deployment was recorded."""
    row = connection.execute("SELECT body FROM dictionary").fetchone()
    return Packer(row[0] if row else b"")


def create_packer(connection: sqlite3.Connection, example: bytes) -> Packer:
    """Give a store its dictionary, for good; inside the caller's transaction."""
    dictionary = example[:_DICTIONARY_BYTES]
    connection.execute("INSERT INTO dictionary (id, body) VALUES (1, ?)", (dictionary,))
    return Packer(dictionary)
