"""The promises to users, their figures, and the tests that hold them: what `make nightly` runs and writes down.

A test tells what it measured with `record_property("measured", "…")`. Where the full count takes too long for
every change, it asks `long_form(each_change, nightly)` for its count.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

#: How many figures a row shows.
SHOWN: Final = 4
T = TypeVar("T")
NIGHTLY: Final = bool(os.environ.get("REACTOR_NIGHTLY"))


def long_form(each_change: int, nightly: int) -> int:
    """Return how often a test does its thing: in every run, or under `make nightly`."""
    return nightly if NIGHTLY else each_change


def by_night(*values: T) -> tuple[T, ...]:
    """Return the parameters that `make nightly` tries beside those of every run."""
    return values if NIGHTLY else ()


@dataclass(frozen=True, slots=True)
class Promise:
    """`tests` are "file::function" below tests/, in the order of the row."""

    title: str
    figure: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one test, all its parameters together."""

    passed: bool
    measured: tuple[str, ...] = ()


LEAVING, FAILURES, FAULTS = "test_leaving.py", "test_failures.py", "test_faults.py"
LIMITS, PEERS, WEIGHTS = "test_http_limits.py", "test_peer_conformance.py", "weights/test_weights_"

PROMISES: Final[Mapping[int, Promise]] = {
    1: Promise(
        "Users come and go and leave nothing behind",
        "≤ 5 KB a session; descriptors, threads, tasks, children ±0",
        (
            f"{LEAVING}::test_after_a_hundred_users_the_server_is_what_it_was_after_five",
            f"{LEAVING}::test_no_task_and_no_object_of_a_session_outlives_it",
        ),
    ),
    2: Promise(
        "Clients that come and go at random are counted right",
        "0 violations",
        (f"{LEAVING}::test_clients_that_come_and_go_at_random_are_counted_right",),
    ),
    3: Promise(
        "A killed client is noticed and nobody else notices",
        "≤ 10 s; gap of others ≤ 100 ms",
        (f"{LEAVING}::test_a_killed_client_is_noticed_and_nobody_else_notices",),
    ),
    4: Promise(
        "Whoever never connects keeps nobody out",
        "freed ≤ 15 s; good client ≤ 2 s",
        (
            "test_session.py::test_connections_that_never_come_about_are_freed_and_keep_nobody_out",
            f"{LIMITS}::test_sockets_that_say_nothing_do_not_keep_a_client_out",
            "test_http_attacks.py::test_one_address_that_takes_every_socket_delays_a_good_client_two_seconds_at_most",
        ),
    ),
    5: Promise(
        "After a blackout a viewer is back in its session, or reads what became of it",
        "5, 12, 25 s dark: the same session; a minute: since when, and that the session ended",
        (
            "test_bad_lines.py::test_after_a_blackout_the_picture_is_back_and_the_page_said_what_happened",
            "test_page_pure.py::test_after_a_blackout_the_page_says_what_happened_since_when_and_what_to_do",
            "test_blackout.py::test_after_a_minute_without_network_the_page_says_since_when_and_that_the_session_ended",
        ),
    ),
    6: Promise(
        "On a bad line the picture is late, and goes on",
        "3 % lost at 100 ms: ≥ 90 % shown, freeze ≤ 300 ms, age p50 ≤ 110 ms; 0.5 Mbit/s: age p95, freeze ≤ 500 ms; "
        "first frame at 100 · 300 ms ≤ 1.2 · 3 s",
        (
            "test_bad_lines.py::test_of_frames_on_a_line_that_loses_three_percent_nearly_all_are_shown",
            "test_bad_lines.py::test_half_a_megabit_a_second_is_late_and_goes_on",
            "test_bad_lines.py::test_the_first_frame_takes_few_round_trips",
        ),
    ),
    7: Promise(
        "A slow viewer costs the others nothing and is cut off",
        "memory ≤ +20 MB; the other ≥ 98 % of frames; cut ≤ 30 s; one at 1 Mbit/s behind 2 MiB: the other's "
        "age p95 ≤ +1 ms, ≥ 95 % of its rate, loop lag p99 ≤ 5 ms",
        (
            f"{LEAVING}::test_a_viewer_who_stops_reading_costs_the_others_nothing_and_is_cut_off",
            "test_bad_lines.py::test_a_poor_viewer_behind_a_large_buffer_takes_nothing_from_a_good_one",
            "test_bad_lines.py::test_the_page_on_a_poor_line_is_sent_the_low_rendition_and_the_full_one_when_it_is_good",
        ),
    ),
    8: Promise(
        "A day of clock drift neither queues nor skips",
        "error < 1 frame",
        ("test_pacing.py::test_a_day_of_clock_drift_neither_queues_nor_skips",),
    ),
    9: Promise(
        "A burst is not shown in rapid fire",
        "≥ 0.8 interval between pictures",
        ("test_pacing.py::test_a_burst_is_not_shown_in_rapid_fire_and_the_frame_after_a_gap_comes_at_once",),
    ),
    10: Promise(
        "A command that raises is answered and the stream goes on",
        "≤ 200 ms; 0 frames lost",
        (
            f"{FAILURES}::test_a_handler_that_raises_is_answered_and_no_frame_is_missed",
            f"{FAULTS}::test_a_handler_that_raises_is_answered_at_once_and_no_frame_is_lost",
        ),
    ),
    11: Promise(
        "A model that raises is told and the next user is served",
        "≤ 500 ms",
        (
            f"{FAILURES}::test_a_loop_that_raises_ends_its_session_only",
            f"{FAULTS}::test_a_loop_that_raises_ends_the_session_within_500_ms_and_the_next_user_is_served",
        ),
    ),
    12: Promise(
        "A hang is noticed at its limit",
        "limit + 0.1 s",
        (
            f"{FAULTS}::test_a_hang_is_noticed_at_its_limit_with_the_stack_in_the_log",
            f"{FAILURES}::test_a_model_that_hangs_is_noticed_at_its_limit_and_replaced",
            "test_frozen.py::test_a_frozen_process_is_a_hang_also_where_no_code_of_the_author_runs",
        ),
    ),
    13: Promise(
        "A crash is told and a new process serves",
        "≤ 100 ms",
        (
            f"{FAULTS}::test_a_crash_is_told_within_100_ms_and_a_new_process_serves",
            f"{FAILURES}::test_a_model_that_dies_is_told_at_once_and_replaced",
        ),
    ),
    14: Promise(
        "Memory that runs out takes the model and not the server",
        "/health ≤ 100 ms meanwhile",
        (
            f"{FAILURES}::test_memory_that_runs_out_is_told_as_such",
            f"{FAULTS}::test_the_kernels_out_of_memory_killer_takes_the_model_and_is_named",
        ),
    ),
    16: Promise(
        "A wrong frame raises at its line and the session lives",
        "0 wrong frames encoded",
        (f"{FAULTS}::test_a_wrong_frame_raises_at_its_line_and_the_session_lives",),
    ),
    17: Promise(
        "A stop that is ignored ends in a kill",
        "limit + 1 s",
        (f"{FAULTS}::test_a_stop_that_is_ignored_ends_in_a_kill_within_a_second_of_its_limit",),
    ),
    18: Promise(
        "Ten thousand frames at once are held back",
        "memory flat",
        (f"{FAULTS}::test_ten_thousand_frames_at_once_are_held_back_and_memory_stays_flat",),
    ),
    19: Promise(
        "100 MB of prints a second cost no frames",
        "≥ 95 % of frames",
        (
            f"{FAULTS}::test_noise_of_100_mb_per_s_costs_neither_frames_nor_the_log",
            f"{FAILURES}::test_a_hundred_megabytes_of_prints_a_second_cost_no_frames",
        ),
    ),
    20: Promise(
        "A command is what its schema allows, or refused with field and reason",
        "50,000 cases; ≤ 5 ms each",
        (
            "test_schema.py::test_what_the_schema_allows_is_accepted",
            "test_schema.py::test_what_the_schema_forbids_is_refused_and_nothing_else_is_raised",
        ),
    ),
    21: Promise(
        "Any bytes on a channel are understood or rejected",
        "0 other errors",
        ("test_wire_fuzz.py::test_any_frame_is_understood_or_rejected",),
    ),
    22: Promise(
        "A message over the limit is dropped",
        "memory ≤ +2 MB",
        (
            f"{PEERS}::test_a_message_over_the_limit_is_dropped_and_the_channel_stays",
            "test_floods.py::test_no_message_takes_memory_however_large_endless_or_many_they_are",
        ),
    ),
    23: Promise(
        "A flood of commands is answered in words and costs no picture",
        "10,000 a second; frames ≥ 95 %; others' commands ≤ 100 ms",
        (
            "test_session_commands.py::test_commands_over_the_rate_are_refused_and_nothing_else_suffers",
            "test_session_commands.py::test_a_flood_is_dropped_unread_and_said_so_once_a_second",
            "test_floods.py::test_ten_thousand_commands_a_second_cost_nobody_else_anything",
        ),
    ),
    24: Promise(
        "A mutated offer is answered or refused",
        "5,000 offers; each ≤ 1 s; nothing left",
        (f"{PEERS}::test_garbage_is_refused_or_answered_and_nothing_else",),
    ),
    25: Promise(
        "A flood of candidates is refused",
        "loop gap ≤ 50 ms",
        (f"{PEERS}::test_a_flood_of_candidates_is_refused",),
    ),
    26: Promise(
        "No packet goes where it must not",
        "0 packets; ≤ 64 to an address that never answers",
        (
            "test_offer.py::test_addresses_that_aim_elsewhere_are_refused",
            "test_aiming.py::test_clients_aim_no_packet_at_a_refused_address_by_candidates_names_or_servers",
            "test_aiming.py::test_an_address_that_never_answers_gets_64_packets_at_most",
        ),
    ),
    27: Promise(
        "Garbage at the media port does not interrupt the stream",
        "100,000 packets; gap ≤ 200 ms; ≤ 10 log lines a second",
        ("test_udp_garbage.py::test_garbage_at_the_media_port_does_not_interrupt_the_stream",),
    ),
    28: Promise(
        "No request makes the server fail, slow or tell about its inside",
        "0 × 5xx; ≥ 28 of 30 fps and /health p99 ≤ 50 ms under ten connections of one-byte chunks",
        (
            f"{LIMITS}::test_no_request_makes_the_server_fail_or_tell_about_its_inside",
            "test_http_attacks.py::test_neither_tiny_chunks_nor_requests_by_the_hundred_stop_the_picture_or_health",
            "test_http_schema.py::test_every_answer_is_as_the_api_describes_it",
        ),
    ),
    29: Promise(
        "An evil picture is refused before it is decoded",
        "≤ 20 ms; ≤ +5 MB",
        (
            "test_images.py::test_an_evil_picture_is_refused_with_the_field_and_the_reason",
            "test_images.py::test_an_evil_picture_is_refused_within_20_ms_and_5_mb",
        ),
    ),
    30: Promise(
        "Uploads are bounded also when nothing is ever written",
        "≤ 32 slots, ≤ 64 MiB",
        ("test_uploads.py::test_slots_and_bytes_are_bounded_also_when_nothing_is_ever_written",),
    ),
    31: Promise(
        "No name leads out of the cache",
        "0 escapes",
        (f"{WEIGHTS}names.py::test_whatever_is_accepted_stays_below_its_root",),
    ),
    32: Promise(
        "Damaged weights are never loaded",
        "1,000 of 1,000 flips found",
        (f"{WEIGHTS}cache.py::test_each_of_a_thousand_flipped_bits_is_found",),
    ),
    33: Promise(
        "A cut download resumes",
        "≤ 5 % again",
        (f"{WEIGHTS}faults.py::test_cut_connections_cost_less_than_five_percent_again",),
    ),
    34: Promise(
        "A store that is away is waited for, then reported; what is cached starts",
        "stall noticed ≤ 15 s; offline start ≤ +1 s",
        (
            f"{WEIGHTS}faults.py::test_a_stall_is_noticed_within_fifteen_seconds",
            f"{WEIGHTS}crashes.py::test_an_offline_start_in_an_empty_network_adds_less_than_a_second",
        ),
    ),
    35: Promise(
        "A full disk loses nothing",
        "old version stays; the stream goes on",
        (
            f"{WEIGHTS}crashes.py::test_a_full_disk_is_said_with_needed_and_free_and_nothing_is_lost",
            "test_recording.py::test_a_full_disk_stops_the_recording_and_not_the_stream",
        ),
    ),
    36: Promise(
        "Many downloaders download once",
        "1 download each time",
        (f"{WEIGHTS}crashes.py::test_many_downloaders_at_once_download_once_also_when_the_first_is_killed",),
    ),
    37: Promise(
        "A download killed at any moment leaves the old or the new",
        "200 kills",
        (f"{WEIGHTS}crashes.py::test_a_download_killed_at_any_moment_leaves_the_old_or_the_new",),
    ),
    38: Promise(
        "No file of weights runs code",
        "0 of ≥ 20 files",
        (f"{WEIGHTS}state_dicts.py::test_no_file_of_the_corpus_runs_code",),
    ),
    39: Promise(
        "A server that is told to stop lets its session end",
        "/health ≤ 100 ms; idle ≤ 2 s; else the drain's limit + 5 s",
        (
            f"{FAILURES}::test_a_server_that_is_told_to_stop_lets_its_session_end",
            f"{FAILURES}::test_a_drain_ends_at_its_limit",
            f"{FAILURES}::test_an_idle_server_stops_within_two_seconds",
            f"{FAILURES}::test_a_server_that_is_told_to_stop_while_it_loads_stops_as_well",
        ),
    ),
    40: Promise(
        "A killed server takes its model with it",
        "≤ 2 s; the port is free",
        (
            f"{FAULTS}::test_the_model_dies_with_a_killed_server_within_2_s",
            f"{FAILURES}::test_a_killed_server_takes_its_model_with_it_and_the_port_is_free",
            "test_reaper.py::test_twenty_children_of_a_model_end_with_a_killed_server",
            "test_reaper.py::test_twenty_children_of_a_model_end_when_who_watches_them_is_killed",
        ),
    ),
    42: Promise(
        "/health is ready only while a session can be served",
        "follows ≤ 1 s",
        (
            "test_session.py::test_the_state_machine_is_where_the_health_says",
            "test_http.py::test_health_is_ready_only_while_sessions_can_be_served",
            f"{FAILURES}::test_a_model_that_dies_is_told_at_once_and_replaced",
            f"{FAILURES}::test_a_model_that_hangs_is_noticed_at_its_limit_and_replaced",
            f"{FAILURES}::test_health_follows_a_model_that_has_loaded",
        ),
    ),
    43: Promise(
        "A killed server loses the last seconds of a recording only",
        "≤ 2 s",
        ("test_recording.py::test_a_killed_server_loses_the_last_seconds_only",),
    ),
    46: Promise(
        "A fault that repeats does not flood the log",
        "every line is shown or counted",
        ("test_loglines.py::test_every_line_is_shown_or_counted",),
    ),
    47: Promise(
        "Every route has a rule and keeps it",
        "0 holes",
        (
            "test_http_access.py::test_every_route_has_a_rule_and_no_rule_is_without_a_route",
            "test_http_access.py::test_no_spelling_of_a_path_gets_around_the_token",
        ),
    ),
    48: Promise(
        "A server on loopback answers local names and pages only",
        "0 holes",
        ("test_http_access.py::test_a_loopback_server_answers_to_local_names_only",),
    ),
    49: Promise(
        "Whoever shows another certificate than announced is never connected",
        "0 media packets; certificates ≤ 30 days",
        (
            f"{PEERS}::test_a_certificate_that_was_not_announced_never_connects_and_gets_no_picture",
            f"{PEERS}::test_a_certificate_lasts_thirty_days_at_most",
            "test_offer.py::test_an_offer_outside_the_limits_is_refused_with_its_reason",
            f"{WEIGHTS}impostors.py::test_an_authority_of_ones_own_is_trusted_when_it_is_given_and_else_the_cause_is_told",
            f"{WEIGHTS}impostors.py::test_an_expired_certificate_is_told_as_such",
            f"{WEIGHTS}impostors.py::test_a_store_that_speaks_no_tls_as_new_as_1_2_is_not_asked",
        ),
    ),
    50: Promise(
        "A full server says so at once",
        "≤ 50 ms; viewers ≥ 98 % of frames while 200 offers a second come",
        (
            "test_session.py::test_viewers_beyond_the_limit_are_refused_and_a_place_is_free_again_when_one_leaves",
            "session/test_viewers.py::test_a_connection_that_offers_again_and_again_makes_few_peers",
            "test_floods.py::test_a_flood_of_offers_and_starts_is_refused_at_once_and_costs_the_viewers_nothing",
        ),
    ),
    51: Promise(
        "What clients read tells nothing of the inside",
        "0 leaks",
        (f"{LIMITS}::test_no_request_makes_the_server_fail_or_tell_about_its_inside",),
    ),
    52: Promise(
        "Browsers and published clients see, send and talk",
        "all green",
        (
            f"{PEERS}::test_a_browser_shows_sends_and_talks",
            "test_clients_together.py::test_a_broadcast_reaches_every_client_in_its_own_format",
        ),
    ),
    54: Promise(
        "A line that is weak or away is said to be, and the page is back when it is",
        "weak ≤ 3 s; offline ≤ 3 s; back ≤ 1 s after the browser is online",
        (
            "test_page_line.py::test_a_silent_line_is_called_weak_within_three_seconds_and_good_again_at_once",
            "test_page_line.py::test_a_browser_that_is_offline_says_so_and_is_back_within_a_second",
            "test_page_line.py::test_after_a_long_absence_the_page_finds_its_session_again",
            "test_page_live.py::test_a_killed_server_is_told_as_such_at_once_and_so_is_its_return",
        ),
    ),
    55: Promise(
        "Half an hour of play leaves the page as it was",
        "heap ≤ +512 KiB; nodes ≤ +50; listeners ≤ +10",
        ("test_page_together.py::test_half_an_hour_of_play_leaves_the_page_as_small_as_its_first_seconds",),
    ),
    56: Promise(
        "Where WebRTC does not get through, or is lost, a WebSocket carries the session on",
        "chosen ≤ 3 s, and remembered; the same session",
        (
            "test_page_socket.py::test_where_webrtc_does_not_get_through_the_websocket_is_there_within_three_seconds_and_remembered",
            "test_page_socket.py::test_a_page_that_loses_webrtc_goes_on_over_the_websocket_in_the_same_session",
            "test_page_socket.py::test_a_socket_that_is_lost_is_made_again_in_the_same_session",
        ),
    ),
    57: Promise(
        "Whatever a client does on its WebSocket ends its own socket at most",
        "10,000 frames a second: others ≥ half of 30 fps, answered ≤ 0.5 s; silent ones cut",
        (
            "test_websocket.py::test_ten_thousand_frames_a_second_are_read_slowly_and_nobody_else_notices",
            "test_websocket.py::test_a_client_that_never_acks_is_told_that_it_is_too_slow_and_closed",
            "test_websocket.py::test_a_client_that_reads_nothing_costs_nobody_anything_and_is_cut",
            "test_websocket.py::test_random_messages_end_their_own_socket_at_most",
            "test_websocket.py::test_malformed_frames_are_closed_with_a_code",
        ),
    ),
    61: Promise(
        "Nobody in a line of a hundred is overtaken, and what they are told of the wait is true",
        "0 inversions; median error ≤ 20 %; claim → driving ≤ 1 s; turn end ± 0.5 s",
        (
            "session/test_line.py::test_of_a_hundred_in_line_nobody_is_overtaken_and_half_are_told_the_truth_within_a_fifth",
            "test_line_live.py::test_twelve_in_line_each_drive_within_a_second_of_their_claim_and_for_as_long_as_was_said",
        ),
    ),
    62: Promise(
        "The next driver finds the model new, and those who watch stay",
        "0 connections lost; nothing of the last driver",
        (
            "session/test_hand_over.py::test_nothing_of_the_last_driver_reaches_the_next_one_s_model",
            "test_line_live.py::test_a_real_model_is_handed_over_while_those_who_watch_stay_connected",
        ),
    ),
    63: Promise(
        "A hundred who watch cost the driver nothing, nor do a hundred who come",
        "≤ 0.15 ms a watcher and frame; driver ≥ 99 % of frames, also while they come within 5 s",
        (
            "test_watchers.py::test_a_hundred_watchers_cost_the_event_loop_little_and_the_driver_no_frame",
            "test_watchers.py::test_a_hundred_who_come_within_five_seconds_cost_the_driver_no_frame",
        ),
    ),
    64: Promise(
        "A driver whose browser dies lets go of what he held",
        "≤ 350 ms; his seat is kept 15 s",
        ("test_wheel_live.py::test_a_browser_that_dies_with_a_key_held_lets_it_go_and_its_seat_is_kept",),
    ),
    65: Promise(
        "A model that crashes in a loop costs the other world nothing",
        "0 frames",
        ("test_two_worlds.py::test_a_model_that_crashes_in_a_loop_costs_the_other_world_no_frame",),
    ),
}


def places_of_promises(rows: Container[int] = PROMISES) -> set[str]:
    """Return "file::function" of every test that holds one of these promises."""
    return {test for number, promise in PROMISES.items() if number in rows for test in promise.tests}


def table(ran: Mapping[str, Ran], *, machine: str, before: str = "") -> str:
    """Write the page: a row for each promise; one that this run did not ask stays as `before`, a page, has it."""
    kept = {_number(line): line for line in before.splitlines() if _number(line)}
    rows = [
        _row(number, promise, ran)
        if any(test in ran for test in promise.tests)
        else kept.get(number, f"| {number} | {promise.title} | {promise.figure} | not run | |")
        for number, promise in PROMISES.items()
    ]
    return "\n".join(
        [
            "# Promises",
            "",
            "<!-- Written by `make nightly`; do not edit by hand. -->",
            f"What users may count on, the figure of each, and what was measured last: {machine}. "
            "*Long*: with the counts of `make nightly`; *short*: with those of every change. "
            "The tests are named in `tests/support/promises.py`. *held*: the test asserts it and prints no number.",
            "",
            "| | promise | figure | last measured | when |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _number(line: str) -> int | None:
    first = line.split("|")[1].strip() if line.startswith("| ") else ""
    return int(first) if first.isdecimal() else None


def _row(number: int, promise: Promise, ran: Mapping[str, Ran]) -> str:
    found: Sequence[Ran | None] = [ran.get(test) for test in promise.tests]
    if any(each is not None and not each.passed for each in found):
        word = "**failed**"
    elif any(each is None for each in found):
        word = "not run"
    else:
        measured = [text for each in found if each is not None for text in each.measured]
        rest = [f"and {len(measured) - SHOWN} more"] if len(measured) > SHOWN else []
        word = "; ".join([*measured[:SHOWN], *rest]) or "held"
    when = f"{datetime.now(UTC):%Y-%m-%d}, {'long' if NIGHTLY else 'short'}"
    return f"| {number} | {promise.title} | {promise.figure} | {word} | {when} |"
