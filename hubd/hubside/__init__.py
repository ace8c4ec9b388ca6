"""Code that runs inside JupyterHub's own process; imports jupyterhub and what it brings along, nothing else of hubd."""
