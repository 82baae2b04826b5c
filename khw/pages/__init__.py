"""
khw.pages: what khw writes as HTML, each page one file that asks for nothing else.

    facts    what the report says, as values
    gather   where they come from: a journal, the workspace, the live cluster
    report   the page: report.html.j2 and report.css, filled in
"""
