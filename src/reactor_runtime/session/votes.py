"""A vote over one command: whoever may votes, and what most want is done. Pure: values and a clock in, values out.

    cast() ─▶ the round begins with its first ballot ─▶ close(): what won, with its counts ─▶ the next one waits

One ballot for each voter and round; the last one counts until the round ends. A round in which nobody votes does not
begin, so nothing happens. Of choices with equally many ballots the one wins that won longest ago; among those that have
never won, or in the same round, the lot decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .. import codes, limits
from ..errors import CommandRejected, SettingError
from ..types import CommandSpec, JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class Question:
    """What is voted on. `choices` has the argument of each, by its name on a ballot; `title` is the author's word."""

    command: str
    parameter: str
    title: str
    choices: Mapping[str, JsonValue]

    def arguments(self, choice: str) -> JsonObject:
        return {self.parameter: self.choices[choice]}


def question(commands: Iterable[CommandSpec], named: str) -> Question:
    """Return what is voted on for the setting `vote`: COMMAND, or COMMAND.PARAMETER where several have choices.

    Raises SettingError where the command has none, or takes more than the one that is voted on.
    """
    by_name = {spec.name: spec for spec in commands}
    name, _, wanted = (named, "", "") if named in by_name else named.rpartition(".")
    spec = by_name.get(name or named)
    if spec is None:
        known = ", ".join(sorted(by_name)) or "none"
        raise SettingError(
            f"vote (--vote, REACTOR_VOTE): no command is called {named}; the model has {known}"
        )
    parts = spec.parameters.get("properties", {})
    choices = {key: found for key, part in parts.items() if (found := _choices(part, spec.parameters))}
    if wanted:
        choices = {key: found for key, found in choices.items() if key == wanted}
    if len(choices) != 1:
        raise SettingError(
            f"vote (--vote, REACTOR_VOTE): {named} has "
            + (
                f"several: say {' or '.join(f'{spec.name}.{key}' for key in choices)}"
                if choices
                else _NO_CHOICES
            )
        )
    ((parameter, found),) = choices.items()
    missing = [key for key in spec.parameters.get("required", ()) if key != parameter]
    if missing:
        text = f"{spec.name} also takes {', '.join(missing)}, on which nobody votes; give it a default"
        raise SettingError(f"vote (--vote, REACTOR_VOTE): {text}")
    title = str(spec.shown.get("x-label") or "")
    return Question(spec.name, parameter, title, {str(value): value for value in found})


_NO_CHOICES = f"no argument that is one of 2 to {limits.VOTE_CHOICES_MAX} values (a Literal or an Enum)"


def _choices(part: JsonObject, whole: JsonObject) -> Sequence[JsonValue]:
    """Return the values of an argument of a few, in the author's order; nothing for any other."""
    if "$ref" in part:
        part = whole.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
    found = [value for value in part.get("enum", ()) if isinstance(value, str | int | float)]
    return found if 2 <= len(found) <= limits.VOTE_CHOICES_MAX else ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands. `ends_s` is on the clock; None while nobody has voted in this round."""

    round: int
    counts: Mapping[str, int]
    ends_s: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a round ended with. `ballots` has the choice of each voter."""

    round: int
    choice: str
    counts: Mapping[str, int]
    ballots: Mapping[str, str]


_LOT: Final = random.SystemRandom().choice


class Votes:
    """The rounds of one session. `lot` takes one of several, each as likely."""

    def __init__(
        self,
        asked: Question,
        *,
        round_s: float,
        clock: Callable[[], float],
        lot: Callable[[Sequence[str]], str] = _LOT,
    ) -> None:
        self.question = asked
        self._round_s = round_s
        self._clock = clock
        self._lot = lot
        self._round = 1
        self._ballots: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        """Of whom no more than the address is known, that."""
        self._counts = dict.fromkeys(asked.choices, 0)
        self._ends_s: float | None = None
        self._won: dict[str, int] = {}
        """The round in which each choice last won."""

    @property
    def standing(self) -> Standing:
        return Standing(self._round, dict(self._counts), self._ends_s)

    def choice_of(self, voter: str) -> str | None:
        return self._ballots.get(voter)

    def cast(self, voter: str, choice: str, in_round: int, address: str = "") -> bool:
        """Count a ballot, in place of the one that this voter gave before; return whether it began the round.

        `address`: where no more is known of a voter; "" otherwise. Raises CommandRejected for a round that is over, an
        unknown choice, or more voters than are counted, in all or of this address.
        """
        if in_round != self._round:
            raise CommandRejected(f"round {in_round} is over; now is {self._round}", code=codes.VOTE_CLOSED)
        if choice not in self._counts:
            raise CommandRejected(f"a ballot says one of {', '.join(self._counts)}")
        before = self._ballots.get(voter)
        if before is None and len(self._ballots) >= limits.VOTE_BALLOTS_MAX:
            raise CommandRejected("no more ballots are counted in this round", code=codes.RATE_LIMITED)
        of_address = sum(each == address for each in self._addresses.values()) if address else 0
        if before is None and of_address >= limits.VOTE_BALLOTS_PER_ADDRESS:
            text = f"{of_address} from your network have voted in this round; no more are counted without a token"
            raise CommandRejected(text, code=codes.RATE_LIMITED)
        if address:
            self._addresses[voter] = address
        if before is not None:
            self._counts[before] -= 1
        self._ballots[voter] = choice
        self._counts[choice] += 1
        if self._ends_s is not None:
            return False
        self._ends_s = self._clock() + self._round_s
        return True

    def left(self, voter: str) -> None:
        """Take a voter's ballot back: whoever comes again under another name has no second one."""
        self._addresses.pop(voter, None)
        if (choice := self._ballots.pop(voter, None)) is not None:
            self._counts[choice] -= 1

    def close(self) -> Decision | None:
        """End the round; return what won, or None where no ballot is left. The next one waits for its first."""
        most = max(self._counts.values())
        decision = Decision(self._round, self._winner(most), self._counts, self._ballots) if most else None
        if decision is not None:
            self._won[decision.choice] = self._round
        self._round += 1
        self._ballots, self._addresses = {}, {}
        self._counts = dict.fromkeys(self._counts, 0)
        self._ends_s = None
        return decision

    def _winner(self, most: int) -> str:
        equal = [choice for choice, count in self._counts.items() if count == most]
        longest_ago = min(self._won.get(choice, 0) for choice in equal)
        equal = [choice for choice in equal if self._won.get(choice, 0) == longest_ago]
        return equal[0] if len(equal) == 1 else self._lot(equal)
