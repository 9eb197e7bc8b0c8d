"""Three jobs that are programs: shell text, a list of arguments, and a script of our own."""

from headrace import Job, Pipeline

count = Job.shell("wc -w < text.txt", name="count")
frequent = Job.command(["awk", "-f", "frequent.awk", "text.txt"], name="frequent")
summary = Job.command(["./summary.sh"], name="summary", bind="named")

pipeline = Pipeline({(count, frequent): summary}, title="words of a text")
