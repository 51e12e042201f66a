"""What JSON may cost: any viewer may send it, and it is parsed where everybody's pictures are paced."""

from __future__ import annotations

import time

import pytest

from reactor_runtime import limits
from reactor_runtime.errors import MessageRejected
from reactor_runtime.strict_json import parse_object


def test_the_largest_message_with_one_key_twice_is_refused_at_once() -> None:
    """Searched for pair by pair, the key of such a message stood the server still for half a minute."""
    keys = [f"{number:x}" for number in range(28_000)]
    text = "{" + ",".join(f'"{key}":1' for key in [*keys, keys[-1]]) + "}"
    assert 0.9 * limits.MESSAGE_MAX_BYTES < len(text) <= limits.MESSAGE_MAX_BYTES
    began_s = time.monotonic()
    with pytest.raises(MessageRejected, match="the same key twice"):
        parse_object(text)
    assert time.monotonic() - began_s < 1
