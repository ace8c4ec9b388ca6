"""A small but real conda channel, and a stand-in for Miniconda's installer, made of Debian packages and PyPI wheels."""
