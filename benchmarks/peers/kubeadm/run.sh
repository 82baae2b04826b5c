#!/usr/bin/env bash
# A cluster by kubeadm, driven over ssh: three controllers with stacked etcd behind the load balancer, three workers.
#
#     run.sh BENCH_ROOT [HOST …]      with hosts: only these
#
# A host that has joined and whose kubelet runs is left alone; kubeadm itself compares nothing.
set -euo pipefail
root=$1
shift
tree=$root/tree/kubeadm
source "$root/machines.sh"
source "$(dirname "$0")/../ssh.sh"
first=${controllers[0]}
[ $# -eq 0 ] || keep_only "$@"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The lab: a kernel without cgroup v2 and without its configuration, swap that is the host's.
ignore=--ignore-preflight-errors=SystemVerification,Swap

joined() { on "$1" 'sudo test -s /etc/kubernetes/kubelet.conf && systemctl is-active --quiet kubelet'; }

# Runtime, kubelet, kubeadm and the images of its role, as packages and a registry would bring them.
install() {
    local role=worker tops
    [[ ! -d $tree/hosts/$1/etc/kubernetes/encryption ]] || role=controller
    mapfile -t tops < <(ls "$tree/hosts/$1") # never "." itself: tar would take the rights of / away for a while
    tar --create --dereference --hard-dereference --owner=0 --group=0 --transform="s,^$role,var/lib/images," \
        -C "$tree/hosts/$1" "${tops[@]}" -C "$tree/images" "$role" |
        on "$1" sudo tar --extract --preserve-permissions --no-overwrite-dir --directory=/
    on "$1" sudo sh -e <<'END'
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin
systemctl mask --quiet --now swap.target
test -d /proc/sys/net/bridge || modprobe br_netfilter
sysctl --quiet --load=/etc/sysctl.d/99-kubernetes.conf
systemctl daemon-reload
systemctl enable --quiet --now containerd
for image in /var/lib/images/*.tar; do ctr --namespace=k8s.io images import "$image"; done
systemctl enable --quiet kubelet
test ! -s /etc/kubernetes/kubelet.conf || systemctl start kubelet
END
}

prepare() { joined "$1" || install "$1"; }

join() {
    local options=(--token "$(cat "$work/token")" --discovery-token-ca-cert-hash "$(cat "$work/hash")")
    case " ${controllers[*]} " in
    *" $1 "*) options+=(--control-plane --certificate-key "$(cat "$work/key")") ;;
    esac
    on "$1" "sudo test -s /etc/kubernetes/kubelet.conf || sudo kubeadm join $(cat "$work/endpoint") $ignore ${options[*]}"
}

wait_ready() {
    on "$1" "sudo /usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/kubelet.conf wait node/$1 \
        --for=create --for=condition=Ready --timeout=180s"
}

if [ $# -gt 0 ]; then # they have joined before
    everywhere prepare "${controllers[@]}" "${workers[@]}"
    everywhere wait_ready "${workers[@]}"
    exit 0
fi

others=("${controllers[@]:1}" "${workers[@]}")
everywhere prepare "${others[@]}" &
preparing=$!
prepare "$first"
if ! on "$first" sudo test -s /etc/kubernetes/admin.conf; then
    on "$first" sudo kubeadm init --config=/etc/kubernetes/kubeadm.yaml --upload-certs "$ignore" | tee "$work/init"
    # What it prints for the others: kubeadm join ENDPOINT --token … --discovery-token-ca-cert-hash … --certificate-key …
    said() { grep -oE -e "$1 +[^ ]+" "$work/init" | head -n 1 | sed 's,.* ,,'; }
    said 'kubeadm join' >"$work/endpoint"
    said '--token' >"$work/token"
    said '--discovery-token-ca-cert-hash' >"$work/hash"
    said '--certificate-key' >"$work/key"
    wait "$preparing"
    everywhere join "${others[@]}"
    (umask 077 && on "$first" sudo cat /etc/kubernetes/admin.conf >"$root/kubeadm.kubeconfig")
fi
wait "$preparing"
everywhere wait_ready "${workers[@]}"
on "$first" sudo /usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --namespace=kube-system \
    rollout status deployment/coredns --timeout=180s
