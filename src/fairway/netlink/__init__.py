"""The kernel's netfilter over netlink, spoken by ourselves.

`wire` is the codec of messages and attributes, `nftables` the messages of nf_tables, `elements` those of sets,
`expressions` what rules are made of and `expression_codec` its bytes, `userdata` what `nft` keeps in the kernel for
printing, `trace` what the kernel tells of a packet, `conntrack` the messages of connection tracking, `exchange` the
conversation (sequence numbers, acknowledgements, dumps, errors) and all of it pure; `socket` does I/O, and `flows` on
it for the table of tracked flows.
"""
