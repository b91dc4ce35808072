"""How the operator proves to Prometheus who it is, and believes that it is Prometheus: token, user, certificates.

All of them are files that may be replaced while the process runs, and are read again when they are needed. What a file
contains never enters a message: messages end in logs and in status.
"""

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from specdecode.api.words import without
from specdecode.errors import SettingsError
from specdecode.settings import Settings


class CredentialsError(Exception):
    """A file is not there, or holds what cannot be used; the message says which and what to change."""


def _secret(path: Path) -> str:
    """The one line in a file."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    except UnicodeError:
        raise CredentialsError(f"{path} is no UTF-8 text") from None
    if not text:
        raise CredentialsError(f"{path} is empty")
    if not text.isprintable():
        # An HTTP library would refuse it with the secret in its message.
        raise CredentialsError(f"{path} has more than one line, or control characters")
    return text


@dataclass(frozen=True)
class Token:
    """A bearer token, and where it is."""

    file: Path

    def header(self) -> str:
        """As a server wants it. Raises CredentialsError."""
        return f"Bearer {self._token()}"

    def secrets(self) -> tuple[str, ...]:
        """What must not be told. Raises CredentialsError."""
        return (self._token(),)

    def _token(self) -> str:
        token = _secret(self.file)
        if not token.isascii():
            raise CredentialsError(f"{self.file} has characters that no token may have")
        return token


@dataclass(frozen=True)
class BasicAuth:
    """A user, and where the password is."""

    username: str
    password_file: Path

    def header(self) -> str:
        """As a server wants it. Raises CredentialsError."""
        return f"Basic {self._pair(_secret(self.password_file))}"

    def secrets(self) -> tuple[str, ...]:
        """What must not be told, in either spelling. Raises CredentialsError."""
        password = _secret(self.password_file)
        return self._pair(password), password

    def _pair(self, password: str) -> str:
        return base64.b64encode(f"{self.username}:{password}".encode()).decode()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # who needs it says why
    return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True)
class TlsFiles:
    """Whom to believe, and what to show to those who ask for a certificate; each None where the default will do."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def version(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Another one as soon as a file was replaced; a kubelet replaces those of one Secret all at once."""
        return tuple(_stamp(path) for path in (self.ca, self.certificate, self.key) if path is not None)

    def context(self) -> ssl.SSLContext:
        """What the files say now. Raises CredentialsError."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # ssl.SSLError is one
            raise CredentialsError(f"prometheus_ca_file {self.ca} cannot be read: {error}") from error
        if self.certificate is not None:
            try:
                # Without a password OpenSSL would ask for the one of an encrypted key on the terminal.
                context.load_cert_chain(self.certificate, self.key, password="")
            except OSError as error:
                raise CredentialsError(
                    f"prometheus_client_certificate_file {self.certificate} and prometheus_client_key_file {self.key} "
                    f"cannot be read: {error}; they must be a pair in PEM, the key not encrypted"
                ) from error
        return context


@dataclass(frozen=True)
class Credentials:
    """All of it for one Prometheus."""

    proof: Token | BasicAuth | None = None
    tls: TlsFiles | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """What the settings describe. Raises SettingsError when they contradict each other."""
        url = settings.prometheus_url
        if url.username or url.password:
            raise SettingsError(
                "prometheus_url has a user or a password in it, where every log would show it; "
                "set prometheus_username and prometheus_password_file instead"
            )
        return cls(_proof(settings), _tls(settings))

    def headers(self) -> dict[str, str]:
        """Read anew for every call. Raises CredentialsError."""
        return {} if self.proof is None else {"Authorization": self.proof.header()}

    def hidden(self, text: str) -> str:
        """`text` without the secrets: a server that refuses them may quote them, and what it says ends in status."""
        if self.proof is None:
            return text
        try:
            secrets = self.proof.secrets()
        except CredentialsError:  # they are not there any more, and who needs them says so
            return text
        return without(text, secrets)


def _proof(settings: Settings) -> Token | BasicAuth | None:
    username, password_file = settings.prometheus_username, settings.prometheus_password_file
    if username and settings.prometheus_token_file is not None:
        raise SettingsError("prometheus_username and prometheus_token_file exclude each other; set one of them")
    if bool(username) != (password_file is not None):
        raise SettingsError("prometheus_username and prometheus_password_file belong together; set both or none")
    if ":" in username:
        raise SettingsError(f"prometheus_username is {username!r}: basic authentication allows no colon in it")
    if password_file is not None:
        return BasicAuth(username, password_file)
    return None if settings.prometheus_token_file is None else Token(settings.prometheus_token_file)


def _tls(settings: Settings) -> TlsFiles | None:
    certificate, key = settings.prometheus_client_certificate_file, settings.prometheus_client_key_file
    if (certificate is None) != (key is None):
        raise SettingsError(
            "prometheus_client_certificate_file and prometheus_client_key_file belong together; set both or none"
        )
    files = TlsFiles(settings.prometheus_ca_file, certificate, key)
    return None if files == TlsFiles() else files
