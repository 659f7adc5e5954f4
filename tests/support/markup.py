"""HTML taken apart, for the tests of what notebooks show."""

from html.parser import HTMLParser

ALONE = {"img"}  # elements that nothing closes


class Markup(HTMLParser):
    """Which elements there are, the texts in them, and the attributes of those; it fails where one is left open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data))

    @property
    def tags(self):
        return {tag for tag, _ in self.attributes}

    def of(self, *tags):
        """The texts in such elements."""
        return [text for tag, text in self.texts if tag in tags]
