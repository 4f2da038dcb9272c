"""A policy on another machine: openpi's websocket protocol with histories, limits and named faults.

Server, in the order of an observation's way:

1. `settings`, `access`: where it listens, the API key, TLS, and what clients may cost.
2. `connection`, `health`: before the handshake; pages are answered, strangers and too many are refused.
3. `metadata`: the first frame of a connection, by which both sides know that they fit each other.
4. `peer`: one client; `wire` makes a message of its bytes, answers leave in the order of the observations.
5. `inference_queue`: one thread for the policy; it takes clients in turn, and of each only the newest.
6. `sessions`: in that thread; history and stamps of the client. `messages`, `key_maps` and `image_codec` make
   an observation of the message, `host` gives the policy that answers it.
7. `refusals`: what a client is told when there is no answer; `metrics` counts it all.
8. `server`: starts and drains the whole.

Client: `client` is a `Policy` that asks a server, `link` keeps its connection.
"""
