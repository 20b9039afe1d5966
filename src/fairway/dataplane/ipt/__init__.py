"""The iptables data plane: kube-proxy's rules, line for line, from a Plan.

`lower` turns a Plan into typed rules, `text` writes and reads them as iptables-restore and iptables-save do, `diff`
finds the least that must be sent, `run` sends a packet through them, and `backend` alone touches the kernel.
Facts: Kubernetes 1.36 pkg/proxy/iptables.
"""
