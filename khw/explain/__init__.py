"""
khw.explain: what everything is, why it is there, what breaks without it, and how it is done by hand.

    book/      the texts, one TOML file a component or kind of thing; tests hold them complete against the tasks
    book.py    their reader
"""
