"""libwebrtc's statistics of one viewer, by the names of the W3C's."""

from __future__ import annotations

from collections.abc import Collection

import reactor_webrtc as rw

from .reactor_sender import TrackSender


def numbers_of(report: rw.StatsReport, senders: Collection[TrackSender]) -> dict[str, float]:
    """Sum up what was sent on all tracks, and what the connection takes. See `link.Link.stats`."""
    numbers: dict[str, float] = {
        "framesDropped": sum(sender.dropped for sender in senders),
        "framesQueued": sum(sender.queued for sender in senders),
    }
    for pair in report.candidate_pairs:
        if pair.nominated:
            numbers["currentRoundTripTime"] = pair.current_round_trip_time_s
            numbers["availableOutgoingBitrate"] = pair.available_outgoing_bitrate_bps
    for stream in report.outbound_rtp:
        for name, value in (
            ("bytesSent", stream.bytes_sent),
            ("packetsSent", stream.packets_sent),
            ("packetsLost", stream.packets_lost),
            ("framesSent", stream.frames_sent),
            ("nackCount", stream.nack_count),
            ("pliCount", stream.pli_count),
            ("totalPacketSendDelay", stream.total_packet_send_delay_s),
        ):
            numbers[name] = numbers.get(name, 0) + value
    return numbers
