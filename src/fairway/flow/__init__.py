"""The words every part uses for a packet and its fate. Pure.

A `Packet` enters a node; what happens to it is a `Trace`: steps, each with the reason, and a disposition at the end.
"""
