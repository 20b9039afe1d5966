from __future__ import annotations

from fairway.fabric.protocol import HostKind
from fairway.fabric.steps import CreateHost, DeleteLink, RemoveHost, hosts_file, mac_of, resolv_conf, resolve, undo
from tests.fabric.topologies import dual_stack_topology, study_topology, topology

COMMANDS = """\
ip netns add alpha  # hostname alpha; /etc/hosts /etc/resolv.conf
ip netns add beta  # hostname beta; /etc/hosts /etc/resolv.conf
ip netns add mypc  # hostname mypc; /etc/hosts /etc/resolv.conf
sysctl -w net.ipv4.ip_forward=1
sysctl -w -e net.bridge.bridge-nf-call-iptables=0
sysctl -w -e net.bridge.bridge-nf-call-ip6tables=0
sysctl -w -e net.bridge.bridge-nf-call-arptables=0
ip link add fairway0 address 02:42:ac:12:00:01 type bridge stp_state 0 mcast_snooping 0
ip address add 172.18.0.1/16 dev fairway0
ip link set fairway0 up
ip netns exec alpha sysctl -w net.ipv4.ip_forward=1
ip netns exec alpha sysctl -w net.ipv4.conf.all.rp_filter=0
ip netns exec alpha sysctl -w net.ipv4.conf.default.rp_filter=0
ip netns exec alpha sysctl -w net.ipv4.conf.all.send_redirects=0
ip netns exec alpha sysctl -w net.ipv4.conf.default.send_redirects=0
ip netns exec alpha sysctl -w -e net.netfilter.nf_conntrack_events=1
ip netns exec beta sysctl -w net.ipv4.ip_forward=1
ip netns exec beta sysctl -w net.ipv4.conf.all.rp_filter=0
ip netns exec beta sysctl -w net.ipv4.conf.default.rp_filter=0
ip netns exec beta sysctl -w net.ipv4.conf.all.send_redirects=0
ip netns exec beta sysctl -w net.ipv4.conf.default.send_redirects=0
ip netns exec beta sysctl -w -e net.netfilter.nf_conntrack_events=1
ip link add veth0 master fairway0 up type veth peer name eth0 address 02:42:ac:12:00:03 netns alpha
ip link add veth1 master fairway0 up type veth peer name eth0 address 02:42:ac:12:00:05 netns beta
ip link add veth2 master fairway0 up type veth peer name eth0 address 02:42:ac:12:00:64 netns mypc
ip -n alpha address add 172.18.0.3/16 dev eth0
ip -n alpha link set eth0 up
ip -n alpha route add default via 172.18.0.1
ip -n alpha route add 10.10.1.0/24 via 172.18.0.5
ip -n beta address add 172.18.0.5/16 dev eth0
ip -n beta link set eth0 up
ip -n beta route add default via 172.18.0.1
ip -n beta route add 10.10.0.0/24 via 172.18.0.3
ip -n mypc address add 172.18.0.100/16 dev eth0
ip -n mypc link set eth0 up
ip -n mypc route add default via 172.18.0.1
"""

UNDO = """\
ip -n mypc route delete default via 172.18.0.1
ip -n mypc link set eth0 down
ip -n mypc address delete 172.18.0.100/16 dev eth0
ip -n beta route delete 10.10.0.0/24 via 172.18.0.3
ip -n beta route delete default via 172.18.0.1
ip -n beta link set eth0 down
ip -n beta address delete 172.18.0.5/16 dev eth0
ip -n alpha route delete 10.10.1.0/24 via 172.18.0.5
ip -n alpha route delete default via 172.18.0.1
ip -n alpha link set eth0 down
ip -n alpha address delete 172.18.0.3/16 dev eth0
ip link delete veth2
ip link delete veth1
ip link delete veth0
ip netns exec beta sysctl -w -e net.netfilter.nf_conntrack_events=2
ip netns exec beta sysctl -w net.ipv4.conf.default.send_redirects=1
ip netns exec beta sysctl -w net.ipv4.conf.all.send_redirects=1
ip netns exec beta sysctl -w net.ipv4.conf.default.rp_filter=0
ip netns exec beta sysctl -w net.ipv4.conf.all.rp_filter=0
ip netns exec beta sysctl -w net.ipv4.ip_forward=0
ip netns exec alpha sysctl -w -e net.netfilter.nf_conntrack_events=2
ip netns exec alpha sysctl -w net.ipv4.conf.default.send_redirects=1
ip netns exec alpha sysctl -w net.ipv4.conf.all.send_redirects=1
ip netns exec alpha sysctl -w net.ipv4.conf.default.rp_filter=0
ip netns exec alpha sysctl -w net.ipv4.conf.all.rp_filter=0
ip netns exec alpha sysctl -w net.ipv4.ip_forward=0
ip link set fairway0 down
ip address delete 172.18.0.1/16 dev fairway0
ip link delete fairway0
sysctl -w -e net.bridge.bridge-nf-call-arptables=1
sysctl -w -e net.bridge.bridge-nf-call-ip6tables=1
sysctl -w -e net.bridge.bridge-nf-call-iptables=1
sysctl -w net.ipv4.ip_forward=0
ip netns delete mypc
ip netns delete beta
ip netns delete alpha
"""


def test_a_topology_reads_as_the_commands_a_person_would_type() -> None:
    assert [step.command for step in resolve(topology())] == COMMANDS.splitlines()


ADDED = """\
sysctl -w net.ipv6.conf.all.disable_ipv6=0
sysctl -w net.ipv6.conf.default.accept_dad=0
sysctl -w net.ipv6.conf.default.accept_ra=0
sysctl -w net.ipv6.conf.all.accept_redirects=0
sysctl -w net.ipv6.conf.default.accept_redirects=0
sysctl -w net.ipv6.conf.all.forwarding=1
ip address add fd00:172:18::1/64 dev fairway0 nodad
ip netns exec alpha sysctl -w net.ipv6.conf.all.disable_ipv6=0
ip netns exec alpha sysctl -w net.ipv6.conf.default.accept_dad=0
ip netns exec alpha sysctl -w net.ipv6.conf.default.accept_ra=0
ip netns exec alpha sysctl -w net.ipv6.conf.all.accept_redirects=0
ip netns exec alpha sysctl -w net.ipv6.conf.default.accept_redirects=0
ip netns exec alpha sysctl -w net.ipv6.conf.all.forwarding=1
ip netns exec beta sysctl -w net.ipv6.conf.all.disable_ipv6=0
ip netns exec beta sysctl -w net.ipv6.conf.default.accept_dad=0
ip netns exec beta sysctl -w net.ipv6.conf.default.accept_ra=0
ip netns exec beta sysctl -w net.ipv6.conf.all.accept_redirects=0
ip netns exec beta sysctl -w net.ipv6.conf.default.accept_redirects=0
ip netns exec beta sysctl -w net.ipv6.conf.all.forwarding=1
ip netns exec mypc sysctl -w net.ipv6.conf.all.disable_ipv6=0
ip netns exec mypc sysctl -w net.ipv6.conf.default.accept_dad=0
ip netns exec mypc sysctl -w net.ipv6.conf.default.accept_ra=0
ip netns exec mypc sysctl -w net.ipv6.conf.all.accept_redirects=0
ip netns exec mypc sysctl -w net.ipv6.conf.default.accept_redirects=0
ip -n alpha address add fd00:172:18::3/64 dev eth0 nodad
ip -n alpha -6 route add default via fd00:172:18::1
ip -n alpha -6 route add fd00:10:10:1::/64 via fd00:172:18::5
ip -n beta address add fd00:172:18::5/64 dev eth0 nodad
ip -n beta -6 route add default via fd00:172:18::1
ip -n beta -6 route add fd00:10:10::/64 via fd00:172:18::3
ip -n mypc address add fd00:172:18::100/64 dev eth0 nodad
ip -n mypc -6 route add default via fd00:172:18::1
"""


def test_a_second_family_adds_its_steps_and_leaves_those_of_the_first_in_their_order() -> None:
    dual = [step.command for step in resolve(dual_stack_topology())]
    added = ADDED.splitlines()
    assert [command for command in dual if command in added] == added
    assert [command for command in dual if command not in added] == COMMANDS.splitlines()


def test_a_link_is_up_before_it_gets_an_address_whose_networks_route_others_need() -> None:
    dual = [step.command for step in resolve(dual_stack_topology())]
    order = [dual.index(f"ip -n alpha {what}") for what in ("link set eth0 up", ADDED.splitlines()[-8][12:])]
    assert order == sorted(order)


def test_the_undo_of_a_second_family_takes_every_step_back() -> None:
    plan = resolve(dual_stack_topology())
    assert undo(undo(plan)) == plan
    assert "ip -n mypc address delete fd00:172:18::100/64 dev eth0" in [step.command for step in undo(plan)]


def test_the_undo_takes_every_step_back_the_last_first() -> None:
    assert [step.command for step in undo(resolve(topology()))] == UNDO.splitlines()


def test_the_undo_of_the_undo_is_the_plan_itself() -> None:
    plan = resolve(study_topology(), node_visible=("/run/lab",))
    assert undo(undo(plan)) == plan


def test_removals_are_undone_by_what_they_removed() -> None:
    plan = resolve(topology())
    removals = [step for step in undo(plan) if isinstance(step, RemoveHost | DeleteLink)]
    assert [type(step).__name__ for step in removals] == ["DeleteLink"] * 4 + ["RemoveHost"] * 3
    restored = [step.undo for step in removals]
    assert restored == [step for step in reversed(plan) if step in restored]


def test_only_nodes_see_the_folders_they_need_and_all_have_the_same_files() -> None:
    specs = [step.spec for step in resolve(topology(), node_visible=("/run/lab",)) if isinstance(step, CreateHost)]
    assert [(spec.name, spec.hostname, spec.kind, spec.visible) for spec in specs] == [
        ("alpha", "alpha", HostKind.NODE, ("/run/lab",)),
        ("beta", "beta", HostKind.NODE, ("/run/lab",)),
        ("mypc", "mypc", HostKind.CLIENT, ()),
    ]
    files = {"/etc/hosts": hosts_file(topology()), "/etc/resolv.conf": resolv_conf()}
    assert [spec.files for spec in specs] == [files] * 3


def test_the_hosts_file_knows_loopback_all_nodes_and_all_clients() -> None:
    assert hosts_file(topology()) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "172.18.0.3\talpha\n"
        "172.18.0.5\tbeta\n"
        "172.18.0.100\tmypc\n"
    )


def test_every_node_of_the_study_has_a_route_to_the_pods_of_the_three_others() -> None:
    commands = [step.command for step in resolve(study_topology()) if " route add 10." in step.command]
    assert commands == [
        "ip -n myk8s-control-plane route add 10.10.1.0/24 via 172.18.0.5",
        "ip -n myk8s-control-plane route add 10.10.2.0/24 via 172.18.0.2",
        "ip -n myk8s-control-plane route add 10.10.3.0/24 via 172.18.0.4",
        "ip -n myk8s-worker route add 10.10.0.0/24 via 172.18.0.3",
        "ip -n myk8s-worker route add 10.10.2.0/24 via 172.18.0.2",
        "ip -n myk8s-worker route add 10.10.3.0/24 via 172.18.0.4",
        "ip -n myk8s-worker2 route add 10.10.0.0/24 via 172.18.0.3",
        "ip -n myk8s-worker2 route add 10.10.1.0/24 via 172.18.0.5",
        "ip -n myk8s-worker2 route add 10.10.3.0/24 via 172.18.0.4",
        "ip -n myk8s-worker3 route add 10.10.0.0/24 via 172.18.0.3",
        "ip -n myk8s-worker3 route add 10.10.1.0/24 via 172.18.0.5",
        "ip -n myk8s-worker3 route add 10.10.2.0/24 via 172.18.0.2",
    ]


def test_a_hardware_address_is_locally_administered_and_holds_the_address() -> None:
    assert mac_of(topology().nodes[1].address) == "02:42:ac:12:00:05"


def test_the_hosts_file_of_a_dual_stack_lab_knows_both_addresses() -> None:
    assert hosts_file(dual_stack_topology()).splitlines()[2:4] == ["172.18.0.3\talpha", "fd00:172:18::3\talpha"]
