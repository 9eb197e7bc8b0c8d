"""Three workers: one downloads a page, two look into it."""

import time
from html.parser import HTMLParser
from urllib.request import urlopen

from headrace import Worker

__all__ = ["Downloader", "GetLinks", "GetTextAndWords"]


class Downloader(Worker):
    """Downloads a page; `http:`, `https:` and `file:` addresses will do."""

    requires = ["url"]

    def process(self, data):
        started = time.perf_counter()
        with urlopen(data["url"], timeout=30) as response:
            charset = response.headers.get_content_charset() or "utf-8"
            html = response.read().decode(charset, errors="replace")
        return {"html": html, "length": len(html), "download_duration": time.perf_counter() - started}


class GetTextAndWords(Worker):
    """The visible text of a page, its title included, and the words of it, as often as they occur."""

    requires = ["html"]

    def process(self, data):
        parser = TextParser()
        parser.feed(data["html"])
        parser.close()
        words = "".join(parser.parts).split()
        return {"text": " ".join(words), "words": words, "number_of_words": len(words)}


class GetLinks(Worker):
    """Where a page points to, each address once."""

    requires = ["html"]

    def process(self, data):
        parser = LinkParser()
        parser.feed(data["html"])
        parser.close()
        links = list(parser.links)
        return {"links": links, "number_of_links": len(links)}


class TextParser(HTMLParser):
    """Collects what a reader would see. Only inline tags do not part two words."""

    HIDDEN = {"script", "style", "template"}
    INLINE = {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "i", "kbd", "mark", "q", "s", "samp", "small"}
    INLINE |= {"span", "strong", "sub", "sup", "u", "var", "wbr"}

    def __init__(self):
        super().__init__()
        self.parts = []
        self.hidden = []

    def handle_starttag(self, tag, attrs):
        if tag in self.HIDDEN:
            self.hidden.append(tag)
        self._part_words(tag)

    def handle_endtag(self, tag):
        if tag in self.hidden:
            self.hidden.remove(tag)
        self._part_words(tag)

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data.replace("\u00ad", ""))  # soft hyphens are no part of a word

    def _part_words(self, tag):
        if tag not in self.INLINE:
            self.parts.append(" ")


class LinkParser(HTMLParser):
    """Collects addresses, in the order of the page."""

    def __init__(self):
        super().__init__()
        self.links = {}

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get("href")
        if tag in ("a", "area") and address is not None:
            self.links[address] = None
