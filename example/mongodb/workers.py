"""Two workers: what one returns, the other requires. They know nothing of MongoDB."""

from collections import Counter

from headrace import Worker


class CountWords(Worker):
    requires = ["text"]

    def process(self, data):
        words = data["text"].lower().split()
        return {"number_of_words": len(words), "most_common": Counter(words).most_common(3)}


class Report(Worker):
    requires = ["id", "number_of_words", "most_common"]

    def process(self, data):
        common = ", ".join(f"{word} ({count})" for word, count in data["most_common"])
        return {"report": f"{data['id']}: {data['number_of_words']} words, most of all {common}"}
