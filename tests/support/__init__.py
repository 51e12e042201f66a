"""What the tests share. Nothing here is a test; each module's docstring says how it is used.

Models           client_model (for the published clients) · faulty_models (one fault each) · headless_models
                 (rendering, replaying, checking) · wan_cases (small networks of causal_wan) · golden_values
Models driven    model_bench (a runner on a thread) · host_events (what a host says) · audience (one user, no server)
Servers          served (in this process) · server (a real `reactor run`) · forked (how it begins) ·
                 memory_runtime (HTTP over a made-up runtime) · prober (asks /health from beside) ·
                 town (a cluster in this process, without Ray)
Virtual time     virtual_time (a loop whose time jumps) · fakes (a host, an engine, links, a fan-out) · house (all
                 sessions of a server between those) · seats (played by hand, for the line) · load (a crowd of
                 watchers without a network) · socket_crowd (the same over real sockets)
Clients          visitor (HTTP and aiortc) · clients (bare WebRTC viewers) · socket_viewer (over the WebSocket) ·
                 sdk and js_sdk (the published ones) · chromium and firefox (real browsers)
The page         page_modules (its modules that know no document, in node) · page_schemas (what models say of their
                 commands) · page_states (what every state is held to) · page_measures (sizes, names, edges) ·
                 using (what people do on it) · hands (fingers on it) · page_waits (for what it shows) · page_desk
                 (a server, a browser, and ways into the states)
Pictures         stamps (a number drawn into a frame) · films (what ffprobe says) · upright (which way up they are)
Trouble          crowd (whether the machine is busy) · faulty_proxy (spoils a store's answers) · heap_room (a heap as a
                 long-lived process has it) · http_attacks (clients that mean harm) · aiming (clients that aim a
                 server at others) · flooder (a client that sends too much) · proxies (what stands in front) ·
                 cable (a network that can be pulled out) · full_house (as many viewers as there is room for) ·
                 small_disk (one to be filled)
Promises         promises (which test holds which) · promise_report (what `make nightly` writes)
"""
