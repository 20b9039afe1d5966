"""Proof on this machine: real packets under the very rules that a node would have, beside what `evaluate` says of them.

`wire` is a node with hosts around it, `taps` what their links hear; all of it in scratch namespaces.
"""
