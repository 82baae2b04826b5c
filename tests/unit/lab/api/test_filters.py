from __future__ import annotations

import pytest

from khw.lab.api.filters import compile_filter
from khw.lab.api.problems import ApiError

ITEM = {
    "name": "worker-0",
    "id": "42",
    "status": "RUNNING",
    "canIpForward": True,
    "labels": {"role": "worker", "cluster": "c-1"},
    "tags": {"items": ["khw", "worker"]},
    "network": "https://www.googleapis.com/compute/v1/projects/p/global/networks/n",
    "networkInterfaces": [{"networkIP": "10.240.0.20"}],
    "creationTimestamp": "2026-01-01T00:00:00.000+00:00",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("name=worker-0", True),
        ("name = worker-1", False),
        ("name!=worker-1", True),
        ("name=worker-*", True),
        ('(name = "worker-0")', True),
        ("name='worker-0'", True),
        ("id=42", True),
        ("id>41 AND id<=42", True),
        ("id < 9", False),
        ("canIpForward=true", True),
        ("canIpForward=false", False),
        ("labels.role=worker labels.cluster=c-1", True),
        ("(labels.role=worker) AND (labels.cluster=c-2)", False),
        ("labels.role=x OR labels.cluster=c-1", True),
        ("labels.role=x OR (labels.role=worker AND status!=TERMINATED)", True),
        ("labels:role", True),
        ("labels.role:*", True),
        ("labels.owner:*", False),
        ("-labels.role=worker", False),
        ("NOT (labels.role=worker)", False),
        ("tags.items=worker", True),
        ("tags.items:work", True),
        ("name:WORK*", True),
        ("networkInterfaces.networkIP=10.240.0.20", True),
        ("name eq worker-[0-9]", True),
        ("name eq worker", False),
        ("name ne worker-.*", False),
        ("network eq .*/networks/n", True),
        ("network=https://www.googleapis.com/compute/v1/projects/p/global/networks/n", True),
        ('network="https://www.googleapis.com/compute/v1/projects/p/global/networks/m"', False),
        ("creationTimestamp>2025-12-31", True),
        ("none=1", False),
        ("none!=1", True),
    ],
)
def test_a_filter_lets_through_what_it_says(text, expected):
    assert compile_filter(text)(ITEM) is expected


@pytest.mark.parametrize("text", ["name", "name=", "=x", "(name=x", "name=x)", "name eq [", "a ~ b", "AND", '"'])
def test_a_filter_that_is_none_is_an_error_with_its_text(text):
    with pytest.raises(ApiError) as caught:
        compile_filter(text)(ITEM)
    assert caught.value.reason == "invalid"
    assert text in caught.value.message
