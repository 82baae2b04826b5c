"""What is broken in etcd: its leader, its quorum, its disk, its space (chapter 7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from khw.drills.drill import ETCDCTL, Cause, Drill
from khw.errors import StepError

if TYPE_CHECKING:
    from khw.drills.drill import Values
    from khw.drills.ground import Ground

DROP_IN = "/etc/systemd/system/etcd.service.d"
DATA = "/var/lib/etcd"
JUNK = f"{DATA}/before-the-upgrade.db"
MOVING = "/var/lib/etcd-is-moving"
FILLING = "/exports/inventory"
ROOM = 24 << 20  # bytes beside what etcd keeps, until its space is over
AWAIT = (
    f"for i in $(seq 60); do {ETCDCTL} endpoint health --command-timeout=2s >/dev/null 2>&1 && break; sleep 0.5; done"
)


def _find_leader(ground: Ground) -> Values:
    """Return who leads, as {leader}, and another member, as {member}."""
    for node in ground.within_reach(ground.cluster.etcd_members):
        code, out, _ = ground.tried(node.name, f"{ETCDCTL} endpoint status --write-out=json")
        if code == 0 and (status := json.loads(out)[0]["Status"])["leader"] == status["header"]["member_id"]:
            other = next((n for n in ground.cluster.etcd_members if n.name != node.name), node)
            return {"leader": node.name, "leader_ip": node.internal_ip, "member": other.name}
    raise StepError("no member of etcd says that it leads", hint="khw verify")


def _kill_leader(ground: Ground, values: Values) -> None:
    """Kill it as the kernel does when memory is short, where somebody has told systemd not to start it again."""
    ground.sh(
        values["leader"],
        f"mkdir -p {DROP_IN} && printf '[Service]\\nRestart=no\\n' >{DROP_IN}/50-debug.conf && systemctl daemon-reload"
        " && systemctl kill --signal=KILL etcd && while systemctl is-active --quiet etcd; do sleep 0.2; done",
    )


def _mend_leader(ground: Ground, values: Values) -> None:
    for node in ground.within_reach(ground.cluster.etcd_members):
        ground.tried(node.name, f"rm -rf {DROP_IN} && systemctl daemon-reload")


LEADER = Drill(
    name="etcd-leader",
    title="the etcd leader killed, and not started again",
    chapter=7,
    members=3,
    story="""
At 3:12 every `kubectl` hung for a second or two and then went on as if nothing had been. The graphs of all API servers
show the same hiccup, and since then the logs on every controller repeat that some peer is "unhealthy". Nothing is
broken that I can see, and that is just it: something is gone, and we are one step from losing all of it.
""",
    hints=(
        "A hiccup that heals itself within two seconds is an election. Ask etcd itself, where it is:"
        " `khw ssh {member} '{etcdctl} endpoint health --cluster'`.",
        "One member does not answer. What does systemd say of it there? `khw ssh {leader} sudo systemctl status etcd`:"
        " look at how it ended, and ask yourself why it was not started again.",
        "`sudo systemctl cat etcd` shows the unit with everything that is laid over it. A file in etcd.service.d says"
        " Restart=no.",
    ),
    repair=(
        "khw ssh {leader} 'sudo rm {drop_in}/50-debug.conf && sudo systemctl daemon-reload"
        " && sudo systemctl start etcd'",
        "khw ssh {member} '{etcdctl} endpoint health --cluster'",
    ),
    cause=Cause(id="unit:etcd.service", node="{leader}"),
    proof=("etcd",),
    find=lambda ground: {**_find_leader(ground), "drop_in": DROP_IN},
    make=_kill_leader,
    mend=_mend_leader,
)


def _lose_two(ground: Ground, values: Values) -> None:
    """Take the data of all members but the first: what is left has no majority."""
    for node in ground.cluster.controllers[1:]:
        ground.sh(node.name, f"systemctl stop etcd; rm -rf {DATA}/member")


QUORUM = Drill(
    name="etcd-quorum",
    title="two of three etcd members lost",
    chapter=7,
    controllers=3,
    stacked=True,
    story="""
The storage team moved our disks last night, and two of the three controllers came back with an empty /var/lib/etcd.
There is no backup: "it is replicated, isn't it?" The API answers nothing any more, or an error after a long while.
Workloads still run where they ran, but nothing can be changed. Every object of the cluster is on the one disk of
{controller}. Be careful with it; it is the only copy that we have.
""",
    hints=(
        "Before anything else, look, and break nothing: `khw ssh {controller} '{etcdctl} endpoint status"
        " --write-out=table'`. It is there, it has data, and it has no leader: one of three is no majority.",
        "Restarting helps nobody: the one with data waits for two votes, and the two without data must not vote (they"
        " forgot what they promised; their units say so: `khw ssh {last} sudo journalctl -u etcd -n 5`). A majority"
        " that is gone cannot be asked for anything. Somebody has to decide, and that is you.",
        "etcd calls it --force-new-cluster: the survivor keeps its data and declares itself the only member. Do it"
        " once, on the survivor alone, and never leave the flag in a unit. Here etcd.service reads /run/khw/etcd.env"
        " at its start, and removes it when etcd is ready.",
        "Now there is a cluster of one, and it takes new members. `khw run --phase etcd` has the two others join it,"
        " one after another; by hand that is `etcdctl member add`, and a start with ETCD_INITIAL_CLUSTER_STATE="
        "existing.",
    ),
    repair=(
        "khw ssh {controller} 'sudo mkdir -p /run/khw && echo ETCD_FORCE_NEW_CLUSTER=true"
        " | sudo tee /run/khw/etcd.env && sudo systemctl restart etcd'",
        "khw run --phase etcd",
        "khw ssh {controller} '{etcdctl} member list'",
    ),
    cause=Cause(id="unit:etcd.service", node="{last}"),
    proof=("etcd", "API server"),
    make=_lose_two,
)


def _fill_disk(ground: Ground, values: Values) -> None:
    """Give etcd a small disk of its own, as full as can be. Where it had its data before, none is left to go stale."""
    ground.sh(
        values["last"],
        f"""set -e
systemctl stop etcd
mv {DATA}/member {MOVING}
find {MOVING} -name '*.tmp' -delete
used=$(du --summarize --block-size=1M {MOVING} | cut -f1)
mount -t tmpfs -o mode=700,size=$((used + 48))m small-disk {DATA}
cp --archive --sparse=always {MOVING} {DATA}/member
rm -rf {MOVING}
cat /dev/zero >{JUNK} 2>/dev/null || true
systemctl start --no-block etcd""",
        timeout=120.0,
    )


def _mend_disk(ground: Ground, values: Values) -> None:
    """Take the small disk away, and others above it. The member has no data then, and a run has it join again."""
    ground.tried(
        values["last"],
        f"rm -rf {MOVING} {JUNK}; mountpoint --quiet {DATA} || exit 0; systemctl stop etcd;"
        f" while mountpoint --quiet {DATA}; do umount {DATA} || umount --lazy {DATA} || exit; done",
    )


DISK = Drill(
    name="etcd-disk",
    title="a full disk",
    chapter=7,
    controllers=3,
    stacked=True,
    story="""
{last} has been acting up since the upgrade preparations yesterday. Its services are restarted again and again; the
cluster as a whole still works. "I only made a copy before the upgrade", says the colleague who did it, "and etcd has
its own disk now, so it cannot have anything to do with that." He is on a plane since noon.
""",
    hints=(
        "Which service is it, and what are its last words? `khw ssh {last} systemctl --failed` and `systemctl"
        " list-jobs` show little of one that is always just starting; `sudo journalctl -u etcd -n 30` tells.",
        "'no space left on device' is about one file system, not about the machine: `khw ssh {last} df -h {data}`.",
        "What fills it? `khw ssh {last} sudo du -ah {data}`: etcd's own files are under member/. Touch nothing there.",
    ),
    repair=(
        "khw ssh {last} 'sudo rm {junk} && sudo systemctl restart etcd'",
        "khw ssh {last} '{etcdctl} endpoint health'",
    ),
    cause=Cause(id="disk:/var/lib/etcd", node="{last}"),
    proof=("etcd",),
    find=lambda _ground: {"data": DATA, "junk": JUNK},
    make=_fill_disk,
    mend=_mend_disk,
)


def _fill_space(ground: Ground, values: Values) -> None:
    """Set a quota a little above what is used, and write until etcd says that it is over."""
    first = values["controller"]
    (status,) = json.loads(ground.sh(first, f"{ETCDCTL} endpoint status --write-out=json"))
    quota = status["Status"]["dbSize"] + ROOM
    for node in ground.cluster.controllers:
        ground.sh(
            node.name,
            f"mkdir -p {DROP_IN} && printf '[Service]\\nEnvironment=ETCD_QUOTA_BACKEND_BYTES={quota}\\n'"
            f" >{DROP_IN}/60-quota.conf && systemctl daemon-reload && systemctl restart etcd && {AWAIT}",
        )
    ground.sh(
        first,
        f"for i in $(seq 200); do head -c 1000000 /dev/zero | tr '\\0' x | {ETCDCTL} put {FILLING}/$i >/dev/null 2>&1"
        f" || break; done; {ETCDCTL} alarm list | grep NOSPACE",
        timeout=120.0,
    )


def _mend_space(ground: Ground, values: Values) -> None:
    nodes = ground.within_reach(ground.cluster.controllers)
    for node in nodes:
        ground.tried(node.name, f"rm -rf {DROP_IN} && systemctl daemon-reload && systemctl restart etcd && {AWAIT}")
    for node in nodes[:1]:
        ground.tried(node.name, "; ".join((f"{ETCDCTL} del --prefix {FILLING}/", COMPACT, DISARM)), timeout=120.0)


COMPACT = (
    f"{ETCDCTL} compact $({ETCDCTL} endpoint status --write-out=fields"
    " | sed -n 's/^\"Revision\" : //p'); "
    f"{ETCDCTL} defrag --cluster"
)
DISARM = f"{ETCDCTL} alarm disarm"

SPACE = Drill(
    name="etcd-space",
    title="etcd's space used up",
    chapter=7,
    stacked=True,
    story="""
Reading works. Writing does not: every `kubectl apply` comes back with "mvcc: database space exceeded", the scheduler
places nothing, and the nodes' leases grow old. The disks are nearly empty, I looked at all of them twice. All that I
can think of is the export that the inventory people have been running since this morning; they asked for "some
key-value store", and somebody gave them ours.
""",
    hints=(
        "It is not the disk. etcd limits itself, and when the limit is reached it raises an alarm and takes no more"
        " writes: `khw ssh {controller} '{etcdctl} alarm list'`.",
        "How large is it, and what is in it? `{etcdctl} endpoint status --cluster --write-out=table`, and `{etcdctl}"
        " get / --prefix --keys-only`, cut to what does not begin with /registry.",
        "Deleting keys alone frees nothing: old revisions stay until they are compacted, and the file stays large until"
        " it is defragmented. The alarm stays until somebody disarms it. In this order: delete, compact, defrag,"
        " disarm.",
    ),
    repair=(
        "khw ssh {controller} '{etcdctl} del --prefix {filling}/'",
        "khw ssh {controller} '{compact}'",
        "khw ssh {controller} '{disarm}'",
    ),
    cause=Cause(id="etcd-alarm"),
    proof=("etcd", "deployment"),
    find=lambda _ground: {
        "filling": FILLING,
        "disarm": DISARM,
        "compact": COMPACT.replace("'s/^\"Revision\" : //p'", '"s/^.Revision. : //p"'),
    },
    make=_fill_space,
    mend=_mend_space,
)

DRILLS = (LEADER, QUORUM, DISK, SPACE)
