"""What runs inside of each person's JupyterLab server, as that person."""
