"""Kubernetes objects as they are now, kept up to date: credentials, an HTTP client, list+watch and a cache.

`kubeconfig` reads who and where, `client` sends single requests and opens watches, `reflector` decides what to ask next
and what each answer changes (pure), `informer` runs it over the client and keeps the cache.
"""
