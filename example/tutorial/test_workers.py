"""Workers are plain classes: testing them takes no daemon.

python -m unittest test_workers.py
"""

import unittest

from web_server import PAGES, serving_pages

from workers import Downloader, GetLinks, GetTextAndWords


class TestDownloader(unittest.TestCase):
    def test_it_downloads_a_page(self):
        with serving_pages() as urls:
            result = Downloader().process({"url": urls[0]})
        self.assertEqual(result["html"], (PAGES / "index.html").read_text(encoding="utf-8"))
        self.assertGreater(result["download_duration"], 0)

    def test_the_length_counts_characters_not_bytes(self):
        page = PAGES / "tailrace.html"
        result = Downloader().process({"url": page.as_uri()})
        self.assertEqual(result["length"], len(page.read_text(encoding="utf-8")))
        self.assertLess(result["length"], page.stat().st_size)

    def test_a_page_that_is_not_there_is_an_error(self):
        with self.assertRaises(OSError):
            Downloader().process({"url": (PAGES / "nothing.html").as_uri()})


class TestGetTextAndWords(unittest.TestCase):
    def words(self, html):
        result = GetTextAndWords().process({"html": html})
        self.assertEqual(result["text"].split(), result["words"])
        self.assertEqual(result["number_of_words"], len(result["words"]))
        return result["words"]

    def test_the_title_counts_and_repeated_words_too(self):
        self.assertEqual(self.words("<title>Flour</title><p>flour, flour.</p>"), ["Flour", "flour,", "flour."])

    def test_what_nobody_sees_does_not_count(self):
        html = "<style>a {}</style><p>seen</p><script>b()</script><template><i>c</i></template><!-- d -->"
        self.assertEqual(self.words(html), ["seen"])

    def test_a_paragraph_ends_a_word_and_emphasis_does_not(self):
        self.assertEqual(self.words("<p>head<b>race</b></p><p>tail<br>race</p>"), ["headrace", "tail", "race"])

    def test_characters_may_be_written_as_entities(self):
        self.assertEqual(self.words("salt &amp; caf&eacute;"), ["salt", "&", "café"])


class TestGetLinks(unittest.TestCase):
    def links(self, html):
        result = GetLinks().process({"html": html})
        self.assertEqual(result["number_of_links"], len(result["links"]))
        return result["links"]

    def test_every_address_stands_there_once(self):
        html = '<a href="b.html">B</a> <a href="a.html">A</a> <A HREF=b.html>B again</A>'
        self.assertEqual(self.links(html), ["b.html", "a.html"])

    def test_an_anchor_without_an_address_is_no_link(self):
        self.assertEqual(self.links('<a name="top">top</a> <link href="style.css">'), [])


if __name__ == "__main__":
    unittest.main()
