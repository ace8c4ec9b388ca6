"""The built-in parts: each turns its section of config.yaml into resources, through the hooks that plugins use."""
