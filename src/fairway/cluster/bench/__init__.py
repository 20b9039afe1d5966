"""`fairway bench`: what is measured, and how; each module measures one thing and returns figures.

`lab` brings labs up. `program` and `connect` need none: they work in namespaces of their own (`scratch`).
"""
