"""The API's types: our own compact description, and what is derived from it.

`load` reads the description into `model`, `decode` checks JSON against it, `openapi` writes it as OpenAPI v3.
"""

from fairway.apiserver.schema.load import load

SCHEMA = load()
"""The types of every kind served, read once."""
