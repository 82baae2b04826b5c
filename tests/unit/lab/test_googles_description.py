from __future__ import annotations

import json

import discovery


def exchange(verb="GET", path="/compute/v1/projects/p/global/networks/n", body=b"", status=200, answer=None):
    return discovery.Exchange(verb, path, set(), body, status, json.dumps(answer or {}).encode())


def test_the_judge_finds_what_google_does_not_know():
    assert discovery.judge(exchange(answer={"name": "n", "mtu": 1460})) == []
    assert "nope" in discovery.judge(exchange(answer={"nope": 1}))[0]
    assert "mtu" in discovery.judge(exchange(answer={"mtu": "1460"}))[0]
    assert "id" in discovery.judge(exchange(answer={"id": 5}))[0]
    assert discovery.judge(exchange(path="/compute/v1/projects/p/global/nothings"))
    assert discovery.judge(exchange(status=404, answer={"error": {"code": 404}}))


def test_the_judge_knows_requests_too():
    path = "/compute/v1/projects/p/global/networks"
    answer = {"name": "o", "status": "DONE"}
    assert discovery.judge(exchange("POST", path, b'{"name": "n"}', answer=answer)) == []
    assert discovery.judge(exchange("POST", path, b'{"Name": "n"}', answer=answer))
    assert discovery.judge(exchange("POST", path, b"{}", answer={"status": "READY"}))


def test_every_path_that_the_lab_serves_is_one_of_googles():
    from khw.lab.api.table import KINDS

    for kind in KINDS.values():
        place = {"global": "global", "region": "regions/r", "zone": "zones/z"}[kind.level]
        base = f"/compute/v1/projects/p/{place}/{kind.path}"
        wanted = [("GET", base), ("POST", base), ("GET", f"{base}/x"), ("DELETE", f"{base}/x")]
        wanted += [("POST", f"{base}/x/{verb}") for verb in kind.actions]
        wanted += [(method, f"{base}/x/{what}") for what, (method, _) in kind.reads.items()]
        if kind.patched:
            wanted.append(("PATCH", f"{base}/x"))
        if kind.labels:
            wanted.append(("POST", f"{base}/x/setLabels"))
        if kind.aggregated:
            wanted.append(("GET", f"/compute/v1/projects/p/aggregated/{kind.path}"))
        assert [pair for pair in wanted if discovery.method_of(*pair) is None] == []
