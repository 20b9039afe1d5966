"""The kernel's netfilter over netlink, spoken by ourselves.

`wire` is the codec of messages and attributes, `nftables` the messages of nf_tables, `elements` those of sets,
`expressions` what rules are made of and `expression_codec` its bytes, `userdata` what `nft` keeps in the kernel for
printing, `trace` what the kernel tells of a packet, `exchange` the conversation (sequence numbers,
acknowledgements, dumps, errors) and all of it pure; `socket` alone does I/O.
"""
