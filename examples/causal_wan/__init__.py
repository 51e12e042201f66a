"""The network that LongLive and Matrix-Game 2.0 share: Wan 2.1 at 1.3B, made causal, block after block.

    noise ─▶ BlockStream ─▶ clean latents ─▶ StreamingVae ─▶ pictures          live.py drives, times and overlaps
                 │  ▲
    CausalWan ◀──┘  └── KV windows: what the past left behind

config.py        every size, as dataclasses; imports no torch
rotary.py        where a token is, as a rotation
window.py        which past frames a pass sees, and where their keys and values lie
transformer.py   CausalWan; actions.py is Matrix-Game's addition to its blocks
stream.py        noise to latents: the schedule, the passes of a block, the re-cache after a prompt switch
vae.py           latents to pictures frame by frame, and pictures to latents
text.py          prompts to embeddings (umt5); vision.py: a picture to embeddings (CLIP)
checkpoint.py    the published files, strictly; names.py: their keys, to the libraries' names
device.py        what fits where
live.py          the loop both models run
longlive.py, matrix.py     from files to something that streams
keys.py          keys to actions; action_ring.py: which of them a frame looks at
start_image.py   a picture to a condition
tiny_weights.py  random weights in the published containers, small enough for any CPU

Parameters are named as in the published checkpoints, so loading is a plain strict load_state_dict. Shapes in
comments: B batch, F latent frames, S tokens of one frame, L = F*S tokens, D width, H heads, C = D/H.
"""
