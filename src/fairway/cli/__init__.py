"""The command line: one file a verb. Each parses, calls one function and renders its answer as text or JSON.

Exit status: 0 done; 1 refused or failed, with one line that says why and the way out; 2 the command line is wrong;
130 interrupted. `exec` passes on the status of what it ran, `demo` is 1 when a claim does not hold.
"""
