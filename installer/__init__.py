"""The installer (import name `hubd_installer`): the first pass, with progress. It uses the same resources as the daemon."""
