from headrace import Job, Pipeline, worker


@worker
def measure(levels):
    return {"highest": max(levels), "lowest": min(levels)}


@worker
def difference(highest, lowest):
    return {"difference": highest - lowest}


pipeline = Pipeline(
    {Job(measure): Job(difference)}, data={"levels": [3.1, 2.7, 4.4], "id": "mill-pond"}, title="water levels"
)
