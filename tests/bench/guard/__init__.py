"""How good the guard is, in simulation: traffic and faults with known moments, the detectors and the judge that
production runs, and three published rules beside them on the same counters.

traffic (requests) -> world (what two scrapes show) -> runs (detectors, judge, rivals) -> tables
"""
