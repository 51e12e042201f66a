"""What opens a server, and for what: the operator's token, the keys that sign others, and what it is without any.

Made once, from the settings; a value from then on. Nothing here is ever logged.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..config import ListenSettings
from ..errors import SettingError, Unauthorized
from ..session.grants import EVERYTHING, Grant
from ..tokens import Keys
from ..types import Role

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    token: bytes = field(default=b"", repr=False)
    keys: Keys = field(default_factory=lambda: Keys(()), repr=False)
    visitor: Role | None = None
    """What whoever shows nothing is; None: nobody."""

    @classmethod
    def of(cls, settings: ListenSettings) -> Doors:
        """Read what the settings name. Raises SettingError."""
        keys = keys_of(settings)
        if settings.tokens_count and not settings.token and not keys:
            raise SettingError(
                f"the file of token keys {settings.token_key_file} has none, which would open the server to all.\n"
                f"  Fix: reactor token key --file {settings.token_key_file}"
            )
        if settings.visitor_role and not settings.tokens_count:
            raise SettingError(
                f"--visitor-role {settings.visitor_role}: nothing tells the operator from visitors, so all would be "
                "operators.\n  Fix: set a token as well, as in REACTOR_TOKEN=$(openssl rand -hex 16)."
            )
        visitor = Role(settings.visitor_role) if settings.visitor_role else None
        return cls(settings.token.encode(), keys, visitor)

    @property
    def open(self) -> bool:
        """Whether nothing is asked for: then everybody may do everything."""
        return not self.token and not self.keys

    def grant(self, shown: Iterable[bytes], now_s: float) -> Grant:
        """Return what the first good token of these allows. Raises Unauthorized if all that are shown are bad."""
        if self.open:
            return EVERYTHING
        refused: Unauthorized | None = None
        for text in shown:
            if self.token and hmac.compare_digest(text, self.token):
                return EVERYTHING
            try:
                return self._signed(text, now_s)
            except Unauthorized as error:
                # What is known of one of our own says more than that another is none.
                refused = error if refused is None or type(refused) is Unauthorized else refused
        if refused is not None:
            raise refused
        return Grant(self.visitor)

    def _signed(self, text: bytes, now_s: float) -> Grant:
        if not self.keys:
            raise Unauthorized("missing or wrong token")
        said = self.keys.read(text, now_s)
        return Grant(
            said.role,
            sid=said.sid,
            sub=said.sub,
            jti=said.jti,
            ends=said.exp,
            max_s=said.max_s,
            once=said.once,
        )


def keys_of(settings: ListenSettings) -> Keys:
    """Return the keys that the settings name, those of the file last. Raises SettingError."""
    texts = list(settings.token_keys)
    if settings.token_key_file:
        texts.append(_read(Path(settings.token_key_file)))
    return Keys.parse(texts)


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            log.warning("other users of this machine may read the token keys in %s: chmod 600 it", path)
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        # The words of a decoding error would quote the file.
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingError(
            f"the file of token keys {path} cannot be read: {why}.\n  Fix: reactor token key --file {path}"
        ) from None
