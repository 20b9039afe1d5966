"""The nftables data plane: flat rules, spoken to the kernel by netlink.

State lives in the elements of a few maps that all Services share; no Service has a chain, rule or set of its own,
session affinity excepted. `layout` names the maps and numbers the classes of doors, `chains` are the rules, `lower`
turns a Plan into elements (`affinity` where it takes more), `book` knows which element is whose, `diff` finds what must
be sent, `encode` and `decode` are its bytes, `text` prints as `nft` does (`phrase` rules, `words` values), `run` sends
a packet through; `backend` and `monitor` alone touch the kernel.
"""
