"""The embedded API server: what an unmodified kubectl and every component of a lab talk to.

Pure: `schema` (types), `kinds` (defaults, validation), `strategy`, `allocators`, `tables`, `discovery`, `protobuf`,
patches, selectors and handlers. I/O: the store (SQLite) and the HTTP server.
"""
