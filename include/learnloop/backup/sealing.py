"""How pieces of a backup are named and written: as they are, or encrypted with a key of the operator's.

Encrypted, a piece is ``LLB1``, 32 random bytes of salt, the ciphertext and a tag of 16 bytes: AES-256-GCM (`cryptography`),
with key and nonce of its own from HKDF-SHA256 over the operator's key and the salt. The piece's name is authenticated with
it, so no piece can be passed off as another. Names are HMAC-SHA256 with another derived key: who has no key learns how many
pieces there are and how large, and not what is in them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from learnloop.errors import Corrupted, InvalidInput, NotFound

_MAGIC = b"LLB1"
_SALT = 32
_TAG = 16
_CHUNK = 1 << 20
_KEY = 32

Write = Callable[[bytes], object]


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class Sealer(Protocol):
    """One way of naming and writing pieces."""

    sealed: bool
    """Whether who reads the place without the key learns nothing of what is in it."""

    def name(self, what: str) -> str:
        """The name, 64 hex digits, of the piece that is ``what``: the same for the same."""
        ...

    def seal(self, name: str, source: Readable, size: int, target: Path) -> None:
        """Write the next ``size`` bytes of ``source`` to the new file ``target``, as the piece ``name``."""
        ...

    def unseal(self, name: str, source: Path, write: Write) -> None:
        """Hand the bytes of the piece to ``write``. They count only when this returns.

        Raises:
            Corrupted: these are not the bytes that were sealed under this name with this key.
        """
        ...


class Plain:
    """As it is: who can read the place can read everything, and change it unnoticed."""

    sealed = False

    def name(self, what: str) -> str:
        return hashlib.sha256(what.encode()).hexdigest()

    def seal(self, name: str, source: Readable, size: int, target: Path) -> None:
        with target.open("xb") as file:
            _copy(source, size, file.write)

    def unseal(self, name: str, source: Path, write: Write) -> None:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                write(chunk)


class Sealed:
    """Encrypted and authenticated. Safe for 64 GiB a piece, which `pieces.PART` keeps far from.

    Args:
        key: 32 bytes.
    """

    sealed = True

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names = _derive(key, b"learnloop backup names", b"", 32)

    def name(self, what: str) -> str:
        return hmac.new(self._names, what.encode(), hashlib.sha256).hexdigest()

    def seal(self, name: str, source: Readable, size: int, target: Path) -> None:
        salt = secrets.token_bytes(_SALT)
        encryptor = self._cipher(salt).encryptor()
        encryptor.authenticate_additional_data(name.encode())
        with target.open("xb") as file:
            file.write(_MAGIC + salt)
            _copy(source, size, lambda chunk: file.write(encryptor.update(chunk)))
            file.write(encryptor.finalize() + encryptor.tag)

    def unseal(self, name: str, source: Path, write: Write) -> None:
        left = source.stat().st_size - len(_MAGIC) - _SALT - _TAG
        with source.open("rb") as file:
            if left < 0 or file.read(len(_MAGIC)) != _MAGIC:
                raise Corrupted(f"the piece {name} of the backup is cut short or was not made by Learnloop")
            decryptor = self._cipher(file.read(_SALT)).decryptor()
            decryptor.authenticate_additional_data(name.encode())
            _copy(file, left, lambda chunk: write(decryptor.update(chunk)))
            try:
                write(decryptor.finalize_with_tag(file.read(_TAG)))
            except InvalidTag as error:
                raise Corrupted(
                    f"the piece {name} of the backup was damaged or tampered with, or sealed with another key"
                ) from error

    def _cipher(self, salt: bytes) -> Cipher[modes.GCM]:
        material = _derive(self._key, b"learnloop backup content", salt, 44)
        return Cipher(algorithms.AES(material[:32]), modes.GCM(material[32:]))


def make_key(path: Path) -> None:
    """Write a new key to ``path``, which must not exist, so that nobody else can read it.

    Raises:
        InvalidInput: there is a file already.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InvalidInput(
            f"{path} exists already, and a key that backups were made with must not be lost: name another file"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())


def sealer_of(key_file: str) -> Sealer:
    """The sealer of the key in ``key_file``; without a name, the one that does not encrypt.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it holds no key.
    """
    if not key_file:
        return Plain()
    try:
        text = Path(key_file).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no key file {key_file} (LEARNLOOP_BACKUP_KEY_FILE): `learnloop backup key PATH` makes one"
        ) from error
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY:
        raise InvalidInput(
            f"{key_file} holds no key: it must be 32 bytes in base64, as `learnloop backup key PATH` writes"
        )
    return Sealed(key)


def _derive(key: bytes, info: bytes, salt: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def _copy(source: Readable, size: int, write: Write) -> None:
    left = size
    while left:
        chunk = source.read(min(_CHUNK, left))
        if not chunk:
            raise Corrupted(
                f"{getattr(source, 'name', 'a file')} ended {left} bytes early: it changed while it was read"
            )
        write(chunk)
        left -= len(chunk)
