"""Faults planted in a lab on purpose: what each does, how it is undone, and the program of the lab that keeps them."""
