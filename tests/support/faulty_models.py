"""Small models, each with one fault that users would meet, and one without. For the tests of `reactor check`."""

from __future__ import annotations

from textwrap import dedent, indent

HEAD = """
import sys
import threading
import time
import types
import numpy as np
from reactor_runtime import SessionStopped, VideoModel, command, get_ctx


def picture(value):
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:] = value % 256
    return frame
"""

SOUND = """
class Model(VideoModel):
    fps = 30

    def __init__(self):
        self.reset()

    def reset(self):
        self.prompt = ""

    def start_session(self):
        n = 0
        while True:
            n += 1
            yield picture(n + sum(map(ord, self.prompt)))

    @command
    def set_prompt(self, prompt: str):
        self.prompt = prompt
"""

LEAKS_PROMPT = SOUND.replace(
    """
    def reset(self):
        self.prompt = ""
""",
    "",
).replace("self.reset()", 'self.prompt = ""')

MUTATES_DEFAULT = SOUND.replace('self.prompt = ""', "self.style = self.STYLE").replace(
    "    fps = 30\n", '    fps = 30\n    STYLE = {"words": []}\n'
)
MUTATES_DEFAULT = MUTATES_DEFAULT.replace("sum(map(ord, self.prompt))", 'len(self.style["words"])').replace(
    "self.prompt = prompt", 'self.style["words"].append(prompt)'
)

LEAKS_HOST_MEMORY = SOUND.replace(
    "        self.reset()\n", "        self.kept = []\n        self.reset()\n"
).replace("        n = 0\n", "        n = 0\n        self.kept.append(np.ones(4 << 20, np.uint8))\n")

#: There is no GPU here: what torch would say of one is said by a stand-in that counts.
LEAKS_GPU_MEMORY = """
class cuda:
    held = 64 << 20
    is_available = staticmethod(lambda: True)
    is_initialized = staticmethod(lambda: True)
    empty_cache = staticmethod(lambda: None)
    memory_allocated = staticmethod(lambda: cuda.held)

sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
""" + SOUND.replace("        n = 0\n", "        n = 0\n        cuda.held += 8 << 20\n")

IGNORES_STOP = SOUND[: SOUND.index("    def start_session")] + indent(
    dedent(
        """
        def start_session(self):
            n = 0
            while True:
                n += 1
                try:
                    get_ctx().emit_frame(picture(n))
                except BaseException:
                    time.sleep(0.01)

        @command
        def set_prompt(self, prompt: str):
            self.prompt = prompt
        """
    ),
    "    ",
)

NOT_REPEATABLE = SOUND.replace("picture(n +", "picture(time.perf_counter_ns() // 1000 +")

TOO_SLOW = SOUND.replace(
    "            n += 1\n", "            n += 1\n            time.sleep(0.03)\n"
).replace("fps = 30", "fps = 240")

COMMAND_RAISES = SOUND.replace("self.prompt = prompt", "self.prompt = prompt.no_such_attribute")

THREAD_STAYS = SOUND.replace(
    "        n = 0\n",
    "        n = 0\n        threading.Thread(target=self.paint, name='painter', daemon=True).start()\n",
).replace(
    "    @command\n",
    """    def paint(self):
        ctx = get_ctx()
        while True:
            time.sleep(0.01)

    @command
""",
)

WAITS = SOUND.replace(
    "        n = 0\n", "        n = 0\n        while not self.prompt:\n            yield None\n"
)

#: name → source, the finding that has to fail (None: none), words of it, and of its hint.
FAULTS: dict[str, tuple[str, str | None, str, str]] = {
    "sound": (SOUND, None, "", ""),
    "waits for its first command": (WAITS, None, "", ""),
    "leaks a prompt": (
        LEAKS_PROMPT,
        "users apart",
        "frame 1 shows what the first one left",
        "first user: prompt;",
    ),
    "mutates a default": (MUTATES_DEFAULT, "users apart", "left behind", "class attribute STYLE"),
    "a thread stays": (THREAD_STAYS, "users apart", "'painter' of the first user's session", "should_stop()"),
    "leaks host memory": (LEAKS_HOST_MEMORY, "host memory", "grows by 4.", "reset()"),
    "leaks GPU memory": (LEAKS_GPU_MEMORY, "GPU memory", "grows by 8.0 MiB per session", "reset()"),
    "ignores stop": (IGNORES_STOP, "stops", "went on for more than 1 s", "SessionStopped"),
    "not repeatable": (NOT_REPEATABLE, "repeatable", "frame 1 differs", "get_ctx().seed"),
    "too slow": (TOO_SLOW, "frame rate", "and 240 are declared", "declare fps="),
    "a command raises": (
        COMMAND_RAISES,
        "commands",
        "set_prompt failed with valid arguments",
        "CommandError",
    ),
}


def source_of(name: str) -> str:
    return HEAD + FAULTS[name][0]
