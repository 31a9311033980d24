"""The pure heart: where a request's wall time went, and which resource of which service took it.

    clock     what the runtime itself withheld (loop, run queue, collector)
    ledger    frames opened and closed, settled to shares that sum to the wall time
    settle    the critical path of overlapping frames (pure)
    holders   who holds a pool, lock or limiter that somebody waits for
    baseline  what a route's good requests spend, per resource (pure)
    verdict   shares, baselines and errors to one cause (pure)
    unit      one request or message: identity, ledger and what is reported at its end
"""
