"""Votes: what can be voted on, ballots, rounds, ties; and in a session, in virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
from support.fakes import INFO, FakeHost, FakeLink
from support.house import House
from support.virtual_time import settle

from reactor_runtime import codes, limits
from reactor_runtime.errors import CommandRejected, SettingError
from reactor_runtime.session.grants import EVERYTHING, Grant
from reactor_runtime.session.votes import Decision, Question, Votes, question
from reactor_runtime.types import CommandOutcome, CommandSpec, JsonObject, Role

SKY: JsonObject = {"enum": ["day", "night", "storm"], "type": "string"}


def spec(name: str, required: tuple[str, ...] = (), **properties: JsonObject) -> CommandSpec:
    return CommandSpec(
        name,
        "",
        {"type": "object", "properties": properties, "required": list(required)},
        shown={"x-label": "Sky"},
    )


# What is voted on ---------------------------------------------------------------------------------------------


def test_a_command_with_one_argument_of_a_few_values_is_voted_on() -> None:
    asked = question([spec("set_sky", ("sky",), sky=SKY, by={"type": "number", "default": 1})], "set_sky")
    assert asked == Question("set_sky", "sky", "Sky", {"day": "day", "night": "night", "storm": "storm"})
    assert asked.arguments("night") == {"sky": "night"}


def test_of_several_such_arguments_one_is_named() -> None:
    commands = [spec("drive", keys=SKY, mouse=SKY)]
    with pytest.raises(SettingError, match=r"several: say drive\.keys or drive\.mouse"):
        question(commands, "drive")
    assert question(commands, "drive.mouse").parameter == "mouse"


def test_an_enum_behind_a_reference_and_numbers_are_choices_as_well() -> None:
    parameters = {
        "type": "object",
        "properties": {"size": {"$ref": "#/$defs/Size"}},
        "$defs": {"Size": {"enum": [480, 720]}},
    }
    asked = question([CommandSpec("set_size", "", parameters)], "set_size")
    assert asked.arguments("720") == {"size": 720}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (spec("other", sky=SKY), "no command is called set_sky; the model has other"),
        (spec("set_sky", by={"type": "number"}), "no argument that is one of 2 to"),
        (spec("set_sky", sky={"enum": ["day"]}), "no argument that is one of 2 to"),
        (spec("set_sky", sky={"enum": [str(n) for n in range(1000)]}), "no argument that is one of 2 to"),
        (spec("set_sky", ("sky", "by"), sky=SKY, by={"type": "number"}), "also takes by"),
    ],
)
def test_what_cannot_be_voted_on_is_said_with_the_setting(command: CommandSpec, words: str) -> None:
    with pytest.raises(SettingError, match=words) as refused:
        question([command], "set_sky")
    assert "--vote" in str(refused.value)


# Rounds -------------------------------------------------------------------------------------------------------


class Hall:
    def __init__(self, lot: int = 0) -> None:
        self.now_s = 100.0
        self.lots: list[list[str]] = []

        def draw(among: object) -> str:
            self.lots.append(list(among))  # type: ignore[call-overload]
            return self.lots[-1][lot]

        asked = Question("set_sky", "sky", "Sky", {"day": "day", "night": "night", "storm": "storm"})
        self.votes = Votes(asked, round_s=10, clock=lambda: self.now_s, lot=draw)

    def cast(self, **ballots: str) -> None:
        for voter, choice in ballots.items():
            self.votes.cast(voter, choice, self.votes.standing.round)

    def decide(self, **ballots: str) -> str:
        self.cast(**ballots)
        decision = self.votes.close()
        assert decision is not None
        return decision.choice


def test_a_round_begins_with_its_first_ballot_and_ends_a_round_length_later() -> None:
    hall = Hall()
    assert hall.votes.standing.ends_s is None
    assert hall.votes.cast("ann", "day", 1) is True
    hall.now_s = 104
    assert hall.votes.cast("ben", "night", 1) is False
    assert hall.votes.standing.ends_s == 110


def test_each_has_one_ballot_and_the_last_one_counts() -> None:
    hall = Hall()
    hall.cast(ann="day", ben="day")
    hall.cast(ann="night")
    hall.cast(ann="storm")
    assert hall.votes.standing.counts == {"day": 1, "night": 0, "storm": 1}
    assert hall.votes.choice_of("ann") == "storm"


def test_what_most_want_wins_and_the_next_round_is_empty() -> None:
    hall = Hall()
    hall.cast(ann="day", ben="storm", cem="storm")
    ballots = {"ann": "day", "ben": "storm", "cem": "storm"}
    assert hall.votes.close() == Decision(1, "storm", {"day": 1, "night": 0, "storm": 2}, ballots)
    assert hall.votes.standing.counts == {"day": 0, "night": 0, "storm": 0}
    assert (hall.votes.standing.round, hall.votes.standing.ends_s, hall.votes.choice_of("ann")) == (
        2,
        None,
        None,
    )


def test_a_ballot_of_a_round_that_is_over_is_refused_and_an_unknown_choice_too() -> None:
    hall = Hall()
    hall.decide(ann="day")
    with pytest.raises(CommandRejected, match="round 1 is over; now is 2") as refused:
        hall.votes.cast("ben", "day", 1)
    assert refused.value.code == codes.VOTE_CLOSED
    with pytest.raises(CommandRejected, match="day, night, storm"):
        hall.votes.cast("ben", "dusk", 2)
    assert sum(hall.votes.standing.counts.values()) == 0


def test_whoever_leaves_takes_its_ballot_along_and_a_round_without_any_decides_nothing() -> None:
    hall = Hall()
    hall.cast(ann="day", ben="night")
    hall.votes.left("ann")
    hall.votes.left("ann")
    assert hall.votes.standing.counts == {"day": 0, "night": 1, "storm": 0}
    hall.votes.left("ben")
    assert hall.votes.close() is None


def test_a_tie_goes_to_what_won_longest_ago_and_at_first_to_the_lot() -> None:
    hall = Hall(lot=1)
    assert hall.decide(ann="day", ben="night") == "night"
    assert hall.lots == [["day", "night"]]
    assert hall.decide(ann="day", ben="night") == "day", "it has never won"
    assert hall.decide(ann="day", ben="night") == "night", "it won longer ago"
    assert hall.decide(ann="day", ben="night", cem="storm") == "storm", "never"
    assert len(hall.lots) == 1, "no lot is drawn where the past decides"


def test_the_lot_is_fair() -> None:
    won = {"day": 0, "night": 0}
    for _ in range(2000):
        votes = Votes(Hall().votes.question, round_s=1, clock=lambda: 0.0)
        votes.cast("ann", "day", 1)
        votes.cast("ben", "night", 1)
        decision = votes.close()
        assert decision is not None
        won[decision.choice] += 1
    # Six standard deviations: one run of half a billion fails.
    assert abs(won["day"] - 1000) <= 6 * (2000**0.5) / 2


def test_the_ballots_of_a_round_are_bounded_and_a_voter_may_still_change_its_mind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "VOTE_BALLOTS_MAX", 2)
    hall = Hall()
    hall.cast(ann="day", ben="day")
    with pytest.raises(CommandRejected) as refused:
        hall.cast(cem="day")
    assert refused.value.code == codes.RATE_LIMITED
    hall.cast(ann="storm")
    assert hall.votes.standing.counts == {"day": 1, "night": 0, "storm": 1}


# In a session -------------------------------------------------------------------------------------------------


def skies(host: FakeHost) -> None:
    host.info = dataclasses.replace(INFO, commands=(spec("set_sky", ("sky",), sky=SKY),))


@pytest.fixture
async def planetarium() -> AsyncIterator[House]:
    async with House.opened(prepare=skies, vote="set_sky", vote_s=10, viewers=300, ping_timeout_s=0) as house:
        yield house


def vote(link: FakeLink, choice: str, in_round: int = 1) -> None:
    link.ask("vote", {"round": in_round, "choice": choice})


async def test_whoever_joins_is_told_what_is_voted_on_and_that_nothing_has_begun(planetarium: House) -> None:
    await planetarium.start()
    link = await planetarium.watch()
    assert link.told("vote") == [
        {
            "round": 1,
            "command": "set_sky",
            "parameter": "sky",
            "title": "Sky",
            "choices": ["day", "night", "storm"],
            "counts": {"day": 0, "night": 0, "storm": 0},
            "ends_in_s": None,
            "yours": None,
            "result": None,
        }
    ]


async def test_everybody_sees_the_ballots_and_the_winner_becomes_a_command(planetarium: House) -> None:
    house = planetarium
    await house.start()
    one, two, three = [await house.watch() for _ in range(3)]
    vote(one, "night")
    vote(two, "night")
    vote(three, "day")
    await asyncio.sleep(0.3)
    told = one.told("vote")[-1]
    assert (told["counts"], told["yours"]) == ({"day": 1, "night": 2, "storm": 0}, "night")
    assert three.told("vote")[-1]["yours"] == "day"
    assert 9 < told["ends_in_s"] <= 10
    assert house.host.calls == []
    await asyncio.sleep(10)
    assert [(call.name, call.arguments) for call in house.host.calls] == [("set_sky", {"sky": "night"})]
    result, receipt = two.told("vote")[-2:]
    assert (result["result"], result["yours"], "receipt" in result) == ("night", "night", False)
    assert receipt["receipt"] == {
        "by": "vote",
        "counts": {"day": 1, "night": 2, "storm": 0},
        "accepted": True,
    }
    assert one.told("values")[-1] == {"commands": {"set_sky": {"values": {"sky": "night"}}}}
    assert house.sessions.journal.since(0)[-1].detail == {"command": "set_sky", "code": "ok", "by": "vote"}


async def test_where_nobody_votes_nothing_happens(planetarium: House) -> None:
    await planetarium.start()
    link = await planetarium.watch()
    await asyncio.sleep(100)
    assert len(link.told("vote")) == 1
    assert planetarium.host.calls == []


async def test_a_ballot_that_is_taken_along_is_told_to_those_who_stay(planetarium: House) -> None:
    await planetarium.start()
    one, two = await planetarium.watch(), await planetarium.watch()
    vote(one, "storm")
    vote(two, "day")
    await asyncio.sleep(1)
    one.lose()
    await asyncio.sleep(0.3)
    assert two.told("vote")[-1]["counts"] == {"day": 1, "night": 0, "storm": 0}


async def test_a_round_whose_voters_have_all_left_decides_nothing(planetarium: House) -> None:
    house = planetarium
    await house.start()
    one, two = await house.watch(), await house.watch()
    vote(one, "storm")
    await asyncio.sleep(1)
    one.lose()
    await asyncio.sleep(20)
    assert house.host.calls == []
    assert (two.told("vote")[-1]["round"], two.told("vote")[-1]["ends_in_s"]) == (2, None)


async def test_a_token_has_one_ballot_however_many_connections_show_it(planetarium: House) -> None:
    house = planetarium
    await house.start()
    token = Grant(Role.VOTE, jti="ann")
    links = []
    for grant in (token, token, EVERYTHING):
        _, link = await house.join(grant=grant)
        link.connect()
        await settle()
        links.append(link)
    vote(links[0], "day")
    vote(links[1], "storm")
    vote(links[2], "night")
    await asyncio.sleep(0.3)
    assert links[2].told("vote")[-1]["counts"] == {"day": 0, "night": 1, "storm": 1}
    links[0].lose()
    links[1].lose()
    await asyncio.sleep(0.3)
    assert links[2].told("vote")[-1]["counts"] == {"day": 0, "night": 1, "storm": 1}
    vote(links[2], "day")
    await asyncio.sleep(0.3)
    assert links[2].told("vote")[-1]["counts"] == {"day": 1, "night": 0, "storm": 1}, (
        "whoever has it may return"
    )


async def test_whoever_may_only_watch_has_no_ballot_and_is_told_so(planetarium: House) -> None:
    house = planetarium
    await house.start()
    _, link = await house.join(grant=Grant(Role.WATCH))
    link.connect()
    await settle()
    vote(link, "day")
    await asyncio.sleep(20)
    assert [notice["code"] for notice in link.told("notice")] == ["not_granted"]
    assert house.host.calls == []


async def test_a_ballot_too_late_or_for_nothing_is_refused_in_words(planetarium: House) -> None:
    await planetarium.start()
    link = await planetarium.watch()
    vote(link, "day")
    await asyncio.sleep(10.1)
    vote(link, "night")
    vote(link, "dusk", 2)
    assert [notice["code"] for notice in link.told("notice")] == ["vote_closed", "invalid_command"]


async def test_where_nothing_is_voted_on_nobody_is_told_of_a_vote(house: House) -> None:
    await house.start()
    other = await house.watch()
    vote(other, "day")
    assert [notice["code"] for notice in other.told("notice")] == ["vote_closed"]
    assert other.told("vote") == []


async def test_what_the_model_refuses_is_told_to_all(planetarium: House) -> None:
    house = planetarium
    await house.start()
    house.host.answers = "by hand"
    link = await house.watch()
    vote(link, "storm")
    await asyncio.sleep(10.1)
    house.host.events.outcome(
        CommandOutcome(house.host.calls[0].command_id, code="too_wet", message="no storms")
    )
    receipt = link.told("vote")[-1]["receipt"]
    assert (receipt["accepted"], receipt["code"], receipt["message"]) == (False, "too_wet", "no storms")
    vote(link, "day", 2)
    await asyncio.sleep(10.1)
    assert house.host.calls[-1].arguments == {"sky": "day"}


async def test_a_thousand_ballots_are_told_a_few_times_a_second(planetarium: House) -> None:
    house = planetarium
    await house.start()
    links = []
    for _ in range(200):
        _, link = await house.join()
        link.connect()
        links.append(link)
        await asyncio.sleep(0.2)
    before = len(links[0].told("vote"))
    for n in range(1000):
        vote(links[n % 200], ("day", "night", "storm")[n % 3])
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    assert len(links[0].told("vote")) - before <= 1 / limits.VOTES_EVERY_S + 2
    assert sum(links[0].told("vote")[-1]["counts"].values()) == 200


async def test_a_vote_on_what_the_model_does_not_have_stops_the_start() -> None:
    other = House(skies, {"vote": "set_weather"})
    try:
        with pytest.raises(
            SettingError, match=r"--vote.*no command is called set_weather; the model has set_sky"
        ):
            await other.load()
    finally:
        await other.sessions.close()
