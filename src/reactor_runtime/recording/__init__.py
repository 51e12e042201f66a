"""Recording what viewers see, and clips of it: HLS segments on the disk, served over HTTP.

Imports `encode`; is imported by `cluster`, `server` and `session`.

    stream ─I420─▶ recorder ─▶ segment writer ─chunk_00000.m4s─▶ folder ◀─ recordings ◀─ GET /clips
    encoder thread  its thread   x264, fMP4                       disk      store, retention

    recorder.py   one session's recording: a thread, a clock and a short queue
    segments.py   pictures at times in, files of whole fragments out
    fmp4.py       the boxes of those files                     (pure)
    playlist.py   which segments a clip needs, as a playlist   (pure)
    recordings.py every recording that is kept: clips of it, and for how long

The encoder is one of its own and not the live one: a segment must begin with a keyframe, which every viewer
would have to receive every four seconds, and a viewer with a poor line would make the recording poor.
"""
