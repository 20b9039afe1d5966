"""The cluster's DNS server: the names of Services and their endpoints, as the Kubernetes specification has them.

Pure: `objects` reads what names are made of, `catalog` keeps it, `answer` says what a question is answered, `wire`
turns the bytes of a query into those of its response. Shell: `server` watches the API server and has the sockets.
"""
