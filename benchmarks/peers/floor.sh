#!/usr/bin/env bash
# The floor: what a plain parallel shell script needs. It copies everything, uncompressed, every time, and checks nothing.
#
#     floor.sh BENCH_ROOT [HOST …]      with hosts: only these
set -euo pipefail
root=$1
shift
tree=$root/tree
source "$root/machines.sh"
source "$(dirname "$0")/ssh.sh"
[ $# -eq 0 ] || keep_only "$@"

# All files of these chapters, binaries included, in one stream.
copy() {
    local host=$1 chapter tops parts=()
    shift
    for chapter in "$@"; do
        mapfile -t tops < <(ls "$tree/$chapter/$host") # never "." itself: tar would take the rights of / away for a while
        parts+=(-C "$tree/$chapter/$host" "${tops[@]}")
    done
    if [ "${with_images:-}" ]; then parts+=(-C "$tree" images); fi
    tar --create --dereference --hard-dereference --owner=0 --group=0 --transform='s,^images,var/lib/images,' "${parts[@]}" |
        on "$host" sudo tar --extract --preserve-permissions --no-overwrite-dir --directory=/
}

controller() {
    copy "$1" certificates kubeconfigs encryption etcd control-plane
    on "$1" sudo sh -e <<'END'
PATH=$PATH:/usr/sbin:/sbin
getent passwd etcd >/dev/null || useradd --system --user-group --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd
mkdir -p -m 0700 /var/lib/etcd
chown etcd:etcd /var/lib/etcd /etc/etcd/kubernetes-key.pem
if [ ! -d /var/lib/etcd/member/wal ]; then # a member that has no data joins, unless it is told to found the cluster
    mkdir -p /run/khw
    echo ETCD_INITIAL_CLUSTER_STATE=new >/run/khw/etcd.env
fi
systemctl daemon-reload
systemctl enable --now etcd kube-apiserver kube-controller-manager kube-scheduler
END
}

prepare_worker() {
    with_images=yes copy "$1" certificates kubeconfigs runtime workers
    on "$1" sudo sh -e <<'END'
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin
systemctl mask --now swap.target
test -d /proc/sys/net/bridge || modprobe br_netfilter
sysctl --quiet --load=/etc/sysctl.d/99-kubernetes.conf
ln -sfn /etc/resolv.conf /var/lib/kubelet/resolv.conf
systemctl daemon-reload
systemctl enable --now containerd
for image in /var/lib/images/*.tar; do ctr --namespace=k8s.io images import "$image"; done
END
}

join_worker() {
    on "$1" "sudo systemctl enable --now kubelet kube-proxy && sudo /usr/local/bin/kubectl \
        --kubeconfig=/var/lib/kubelet/kubeconfig wait node/$1 --for=create --for=condition=Ready --timeout=180s"
}

everywhere prepare_worker "${workers[@]}" &
preparing=$!
everywhere controller "${controllers[@]}"
wait "$preparing"
everywhere join_worker "${workers[@]}"
[ $# -eq 0 ] || exit 0
for manifest in "$tree"/manifests/*.yaml; do echo ---; cat "$manifest"; done | on "${controllers[0]}" \
    'sudo /usr/local/bin/kubectl --kubeconfig=/var/lib/kubernetes/admin.kubeconfig apply -f -'
on "${controllers[0]}" 'sudo /usr/local/bin/kubectl --kubeconfig=/var/lib/kubernetes/admin.kubeconfig \
    --namespace=kube-system rollout status deployment/coredns --timeout=180s'
