"""The kubelet: runs the pods bound to one node as processes in network namespaces of their own.

What a pod is to be (`pod`), what it is now (`lifecycle.PodRecord`) and what to do next (`lifecycle.decide`) are values
and functions of values; `status` writes the record as a PodStatus, `probes` turns single probe outcomes into a
container's health, `backoff`, `ipam`, `images`, `dns`, `environment`, `cri` and `node` are the small pure parts beside
them. None of these read a clock: the time is an argument, in seconds since the epoch.

The shells do what the pure parts decided: `runtime` (sandboxes and containers through the lab's spawner), `prober`,
`logs`, `execution`, `server` (logs and exec for the API server), `events`, `registration` (Node and Lease), `vip`
(load balancer addresses held by this node), `container_run` (a container from start to end), `worker` (one pod) and
`kubelet` (all of them).

The lab has no images: `images` maps the few names it knows to the programs in `programs`.
"""
