"""The command line: one file a verb. Each parses, calls one function and renders its answer as text or JSON.

Answers go to standard output, all else (progress, errors, notes) to standard error; docs/cli.md is the reference.
Exit status: 0 done; 1 refused or failed, with one line that says why and the way out; 2 the command line is wrong;
130 interrupted (129 by a closed terminal, 143 by SIGTERM). `exec` passes on the status of what it ran, `demo` is 1 when
a claim does not hold, `status` is 1 when the lab's API server does not answer.
"""
