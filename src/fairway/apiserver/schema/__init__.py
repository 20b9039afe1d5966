"""The API's types: our own compact description, and what is derived from it."""
