"""The agent of one node: a kube-proxy. It watches Services, EndpointSlices and its own Node, and keeps the kernel's
rules what their Plan says.

`changes` holds the objects and which Services changed, `step` compiles them, `health` says what each health port must
answer: all pure. `syncloop` is the loop between them and a `dataplane`; `listeners`, `metrics`, `events`, `sysctls` and
`addresses` touch the world for it; `agent` puts them together, as `options` and `configuration` tell.
Facts: Kubernetes 1.36 cmd/kube-proxy and pkg/proxy.
"""
