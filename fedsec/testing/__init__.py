"""Contract tests that any plug-in can run, first- or third-party: see `fedsec.testing.contracts`."""
