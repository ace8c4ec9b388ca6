"""One pass: from the text of config.yaml to a machine that is as it says. `reconcile` is the file to read first."""
