"""Which bytes a bounded cache keeps: policies, traces, replay. Pure, but for `simulate`."""
