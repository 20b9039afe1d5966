"""What is wrong on the nodes of a cluster, and with its Services: facts are gathered, then judged.

`nodefacts` runs on a node and prints what it finds; the checks are pure functions from facts and objects to Findings;
`examine` brings the two together for a lab, or for the machine it runs on.
"""
