"""Fairway: the Kubernetes Service data plane, from the NodePort on a node's edge to the pod.

    objects --watch--> state --compile--> Plan --lower--> Ruleset --diff--> Batch --> kernel
    (API)              (caches)           outcomes        (typed rules)

`plan` decides once what happens to a packet, `dataplane` lowers that to rules, `agent` keeps a node's kernel equal to
it. Around them `apiserver`, `controllers`, `kubelet` and `fabric` are a whole cluster on one Linux machine, put
together in `cluster`. Imports point only down: cli, cluster, (agent, apiserver, controllers, kubelet), fabric,
(dataplane, watch), plan, flow, api, base.
"""
