from __future__ import annotations

from khw.tasks.units import arguments, render


def test_flags_are_printed_one_a_line_as_in_the_guide() -> None:
    text = render(
        description="etcd",
        documentation="https://etcd.io/docs/",
        binary="/usr/local/bin/etcd",
        flags={"name": "controller-0", "client-cert-auth": True, "urls": ("a", "b"), "v": 2},
        unit={"After": "network-online.target"},
        service={"Type": "notify"},
        sandbox={"NoNewPrivileges": True},
    )
    assert text == (
        "[Unit]\n"
        "Description=etcd\n"
        "Documentation=https://etcd.io/docs/\n"
        "After=network-online.target\n"
        "\n"
        "[Service]\n"
        "Type=notify\n"
        "ExecStart=/usr/local/bin/etcd \\\n"
        "  --name=controller-0 \\\n"
        "  --client-cert-auth=true \\\n"
        "  --urls=a,b \\\n"
        "  --v=2\n"
        "Restart=on-failure\n"
        "RestartSec=5\n"
        "NoNewPrivileges=true\n"
        "\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def test_an_option_with_several_values_is_given_once_a_value() -> None:
    text = render(description="d", documentation="u", binary="/b", service={"ExecStartPre": ("/bin/a", "/bin/b")})
    assert "ExecStartPre=/bin/a\nExecStartPre=/bin/b\n" in text


def test_what_systemd_would_expand_is_passed_on_as_it_is() -> None:
    text = render(description="d", documentation="u", binary="/b", flags={"a": "100%", "b": "$HOME", "c": 'x "y"'})
    assert "--a=100%%" in text
    assert "--b=$$HOME" in text
    assert '"--c=x \\"y\\""' in text


def test_arguments_serve_commands_too() -> None:
    assert arguments({"a": False, "b": 1}) == ("--a=false", "--b=1")
