"""The kernel's netfilter over netlink, spoken by ourselves.

`wire` is the codec of messages and attributes, `nftables` the messages of nf_tables, `expressions` what its rules are
made of, `userdata` what `nft` keeps in the kernel for printing, `exchange` the conversation (sequence numbers,
acknowledgements, dumps, errors) and all of it pure; `socket` alone does I/O.
"""
