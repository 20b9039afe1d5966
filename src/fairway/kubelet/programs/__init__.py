"""The programs that stand for images.

They run in pods, started by `launch`, with the standard library alone and as little of that as they can: a program
is up within some 30 ms and takes some 10 MB, since a lab runs hundreds of them.
"""
