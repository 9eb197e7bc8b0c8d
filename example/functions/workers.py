from headrace import Job, Pipeline, worker


@worker
def words(text):
    return {"words": text.split()}


@worker
def longest(words):
    return {"longest": max(words, key=len)}


pipeline = Pipeline({Job(words): Job(longest)}, data={"text": "water turns the wheel"})
