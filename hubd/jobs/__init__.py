"""What a job does, in a process of its own and as the build account: installing conda, building an environment."""
