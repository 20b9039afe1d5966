"""The lab's own outer namespaces: hosts, links and routes, and the first process that makes and holds them.

From the bottom up: `topology` and `steps` decide (no I/O); `namespaces`, `rtnl` and `network` talk to the kernel;
`protocol`, `server` and `spawner` are the two ends of the first process's socket; `init` starts that process.
"""
