"""User code and the processes that run it."""

if __name__ == "workers":
    raise ImportError("this `workers` is Headrace's own folder, not yours: start from the folder of your project")
