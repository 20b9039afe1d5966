"""What happens to packets for Services, decided once. Pure.

`compile_plan` turns Services, EndpointSlices and one Node into a Plan of outcomes; `evaluate` says what a Plan does to
a packet and is the specification every data plane must agree with. Nothing below this floor reads a traffic policy.
"""
