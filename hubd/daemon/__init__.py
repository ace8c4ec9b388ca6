"""The daemon: when a pass is made, who may ask for one, and people's servers started on the hub's request."""
