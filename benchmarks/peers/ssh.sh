# What the shell contestants share: ssh with cheap ciphers, and one job for each host. Sourced after machines.sh.
# shellcheck shell=bash disable=SC2154
ssh_options=(
    -i "$key" -o IdentitiesOnly=yes -o UserKnownHostsFile="$known_hosts" -o StrictHostKeyChecking=yes -o LogLevel=ERROR
    -o Compression=no -c aes128-gcm@openssh.com -o KexAlgorithms=curve25519-sha256
)

on() {
    local host=$1
    shift
    ssh "${ssh_options[@]}" -p "${port[$host]}" "$user@${address[$host]}" "$@"
}

# One job for each host, all at once; the first that fails ends the script.
everywhere() {
    local task=$1 host job jobs=()
    shift
    for host in "$@"; do
        "$task" "$host" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

# With names: only these of the machines.
keep_only() {
    local wanted=" $* " name kept
    kept=()
    for name in "${controllers[@]}"; do [[ $wanted != *" $name "* ]] || kept+=("$name"); done
    controllers=("${kept[@]}")
    kept=()
    for name in "${workers[@]}"; do [[ $wanted != *" $name "* ]] || kept+=("$name"); done
    workers=("${kept[@]}")
}
