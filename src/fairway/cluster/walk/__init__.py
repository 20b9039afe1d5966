"""The NodePort study, row by row, on a fresh lab.

Each row runs the commands a person would type and judges one claim from what came back: what was on the wire, in the
kernel's rules and in conntrack, never from this project's own Plan. `stage` runs and records, `rows_*` are the rows,
`picture` draws one packet's way, `study` calls them in the study's order. Sentences are written in English where they
are told; `language` puts in their values, `korean` has each of them in Korean.
"""
