"""Function tasks of the namespace `main`: each is called once with its init_args and returns the function that runs."""


def example(init_args):
    example_property = init_args["example_property"]

    async def run(data):
        return {"input": "We got: " + example_property + data["input"]}

    return run


def split_string(init_args):
    async def run(data):
        return {"strings": data["input"].split()}

    return run


def filter_string_length(init_args):
    limit, strict = init_args["word_length"], init_args.get("strict", False)

    def fits(word):
        if len(word) == limit:
            return not strict
        return (len(word) < limit) == (init_args["comparison"] == "less")

    async def run(data):
        return {"strings": [word for word in data["strings"] if fits(word)]}

    return run


def capitalize_words(init_args):
    async def run(data):
        return {"strings": [word.upper() for word in data["strings"]]}

    return run


def char_count(init_args):
    async def run(data):
        return {"lengths": [len(word) for word in data["strings"]]}

    return run


def split_list(init_args):
    """A list of dicts opens branches: everything after this task runs once for each of them."""
    list_key, key_name = init_args["list_key"], init_args["key_name"]

    async def run(data):
        rest = {key: value for key, value in data.items() if key != list_key}
        return [{**rest, key_name: value} for value in data[list_key]]

    return run


def combine_words(init_args):
    async def run(data):
        return {init_args["final_key"]: "".join(data[key] for key in init_args["dict_keys"])}

    return run


def collect(init_args):
    """For tasks with an "aggregate": it gets a list of dicts, what has reached it in these branches."""
    key = init_args["key"]

    async def run(items):
        return {key: [item[key] for item in items]}

    return run
