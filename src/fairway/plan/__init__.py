"""What happens to packets for Services, decided once. Pure.

`compile_plan` turns Services, EndpointSlices and one Node into a Plan of outcomes; `evaluate` says what a Plan does to
a packet and is the specification every data plane must agree with. Nothing below this floor reads a traffic policy.

`options` is what a node is told and is, `endpoints` which of them may be used, `doors` the addresses of a Service,
`ways` what its policies make of the two for each class of sources; `compile` makes a part of the Plan of each Service,
and an `assembly` joins the parts, as they change, into the Plan of `model`.
"""
