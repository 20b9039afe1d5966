"""Kubernetes objects and the table of resources. Pure: no I/O, no clock.

`types` is an object as the API carries it, `resources` which kinds there are and where they live, `status` how a
server says no; `meta`, `core` and `discovery` are the typed view of the few fields a node agent reads, `codec` makes
it, and `manifest` reads files of objects.
"""
