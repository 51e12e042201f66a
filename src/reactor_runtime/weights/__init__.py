"""The model registry: weights that are complete, verified and there before the model loads.

Imports no other folder; is imported by `author`, `running`, `worker`, `session_log`, `server`, `cli`, and by the
package itself.

names.py        pure: the grammar of names, versions and file paths; the only module that builds a path or key
index.py        pure: what a version contains: sizes, digests, and what a published folder remembers
ranges.py       pure: which bytes of a file are there
patience.py     pure: when to try again, when to give up
transfer.py     pure: how far a download is, in numbers and in words
store.py        the object store (folder, S3, ...); store_errors.py turns what it raises into our errors
credentials.py  AWS profiles
partial.py      an unfinished download on disk: its journal, its owner
cache.py        finished downloads on disk: look up, publish, quarantine, collect
locks.py        locks between processes
incoming.py     one file while it arrives
fetch.py        download in parallel, resume, verify
catalog.py      what a registry has
pull.py         one version from the store into the cache
publish.py      a folder into the store
display.py      transfers as a person sees them
resolve.py      what `VideoModel.weights(name)` asks
state_dicts.py  `load_weights(path)`: state dicts without running foreign code

A download belongs to the process that serves or to the command line; the model process is given folders.
"""
