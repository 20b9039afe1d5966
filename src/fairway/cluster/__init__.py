"""The composition root: fabric, API server, controllers, kubelets and agents put together as a lab.

`scenario` says which lab, `pki` gives each part its certificate, `state` keeps what is on disk, `programs` are the
processes that run inside, `lab` brings it up, takes it down and finds it again. `walk` is the NodePort study, run on
a lab and judged from what was seen on the wire and in the kernel.
"""
