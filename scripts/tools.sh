#!/bin/sh
# Makes sure that the programs Fairway runs are there: as root the missing ones are installed from the
# distribution (Debian), otherwise they are named. Arguments: further packages wanted; --tests for what only tests run.
set -eu
PATH=$PATH:/usr/sbin:/sbin

missing=
add() { # package
    case "$missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
}
want() { # program package
    command -v "$1" >/dev/null 2>&1 || add "$2"
}
for package in "$@"; do
    case "$package" in --tests) want nft nftables && want iptables-restore iptables ;; *) add "$package" ;; esac
done
want conntrack conntrack
want ip iproute2
want ss iproute2
want curl curl
want kubectl kubernetes-client

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "fairway: missing programs; as root: apt-get install$missing" >&2
    # kubectl is wanted, not needed: without it the demo makes the same requests itself.
    [ "$missing" = " kubernetes-client" ] && exit 0
    exit 1
fi
echo "fairway: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
apt-get install -qq -y --no-install-recommends $missing >/dev/null
