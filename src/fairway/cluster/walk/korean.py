"""The walk in Korean, in the words and headings of the study it walks.

Names of fields, chains and programs stay as they are typed. No particle that depends on a final consonant (such as
은/는, 을/를) follows a placeholder: what a value ends in is not known here.
"""

from __future__ import annotations

_ROWS = {
    # S1
    "kubectl apply, with an unmodified kubectl": "Deployment 와 서비스 생성 (수정하지 않은 kubectl 로 apply)",
    "the Deployment and the Service are created; a second apply says unchanged": (
        "Deployment 와 서비스가 생성되고, 다시 apply 하면 unchanged 가 나온다"
    ),
    "both objects are created": "두 오브젝트가 모두 생성된다",
    "a second apply changes nothing": "두 번째 apply 는 아무것도 바꾸지 않는다",
    "the rollout completes": "롤아웃이 완료된다",
    "each of three pods was seen as 0/1 ContainerCreating, then 1/1 Running (kubectl get pods -w)": (
        "파드 3개가 각각 0/1 ContainerCreating 을 거쳐 1/1 Running 이 된다 (kubectl get pods -w)"
    ),
    # S1 of a dual-stack lab
    "kubectl patch svc: ipFamilyPolicy PreferDualStack": (
        "듀얼 스택 설정 (kubectl patch svc: ipFamilyPolicy PreferDualStack)"
    ),
    "the Service keeps its address and node port, gets an IPv6 address beside, and a slice for each family": (
        "서비스의 IP 와 NodePort 는 그대로이고 IPv6 주소가 추가되며, IP 패밀리마다 슬라이스가 따로 생긴다"
    ),
    "it has a ClusterIP of each family, its first family first": (
        "IP 패밀리마다 ClusterIP 가 하나씩 있고, 원래 패밀리의 것이 먼저다"
    ),
    "its first ClusterIP and its node port stay; one node port number serves both families": (
        "원래의 ClusterIP 와 NodePort 는 그대로이고, NodePort 번호 하나를 두 패밀리가 함께 쓴다"
    ),
    "its endpoints stand in slices of their own for each family": "엔드포인트는 패밀리별로 각각의 슬라이스에 들어 있다",
    # S2
    "kubectl get, with the study's columns": "생성된 리소스 확인 (kubectl get, 스터디와 같은 컬럼)",
    "one replica runs on each worker, on the study's nodes and addresses": (
        "스터디와 같은 노드와 IP 로, 워커 노드마다 파드가 하나씩 실행된다"
    ),
    "the study's columns": "스터디와 같은 컬럼이 나온다",
    "pods are named deploy-echo-<hash>-<5>": "파드 이름은 deploy-echo-<hash>-<5> 형식이다",
    "one replica on each worker, none on the tainted control plane": (
        "파드가 워커 노드마다 하나씩 있고, taint 가 있는 컨트롤 플레인에는 없다"
    ),
    "the four nodes have the study's addresses": "네 노드의 IP 가 스터디와 같다",
    "the Service has a ClusterIP, port 9000 and a node port from 30000-32767": (
        "서비스에 ClusterIP, 9000 포트, 30000-32767 범위의 NodePort 가 있다"
    ),
    # S3
    "the echo server": "echo 서버",
    "it answers any request with JSON that tells the request, the host asked, the peer seen and the pod": (
        "어떤 요청이든 JSON 으로 응답하고, 요청 내용, 요청한 호스트, 서버가 본 상대방 IP, 파드 이름을 알려 준다"
    ),
    "it tells path and method": "path 와 method 를 알려 준다",
    "it tells the headers": "headers 를 알려 준다",
    "`hostname` is the host that was asked": "`hostname` 은 요청한 호스트다",
    "`ip` is the peer it sees": "`ip` 는 서버가 본 상대방 IP 다",
    "`os.hostname` is the pod's name": "`os.hostname` 은 파드 이름이다",
    # S4
    "ss -tlnp on every node": "포트 Listen 확인 (모든 노드에서 ss -tlnp)",
    "nothing listens on the node port: the kernel's rules do it": (
        "NodePort 를 Listen 하는 프로세스는 없고, 커널의 룰이 처리한다"
    ),
    "nothing on {node} listens on {port}": "{node} 에 {port} 포트를 Listen 하는 프로세스가 없다",
    # S5
    "mypc calls NODE:NODEPORT for all four nodes": "외부 클라이언트 mypc 에서 네 노드의 노드IP:NodePort 로 접속",
    "all answer, also the one without a pod": "모든 노드로 접속에 성공한다. 파드가 없는 노드도 마찬가지다",
    "{node} answers, through {pod}": "{node} 에 접속하면 파드 {pod} 에서 응답이 온다",
    # S6
    "a loop of calls": "부하분산 (반복 접속)",
    "they are spread over the three pods at random, about a third each": (
        "요청이 파드 3개에 랜덤으로, 약 1/3 씩 분산된다"
    ),
    "all {calls} calls were answered": "요청 {calls}번에 모두 응답이 온다",
    "each of three pods got about a third (chi-square below {limit})": (
        "파드 3개가 각각 약 1/3 씩 받는다 (카이제곱 {limit} 미만)"
    ),
    # S7, mode nftables
    "fairway rules, and the kernel's own trace of one packet": (
        "룰을 하나씩 따라가기 (fairway rules, 커널의 패킷 trace)"
    ),
    "nat-prerouting leads by services, dispatch and the node port's class to one endpoint of three, a third"
    " each, and to DNAT and MASQUERADE": (
        "nat-prerouting 에서 services, dispatch, NodePort 의 class 를 거쳐 엔드포인트 3개 중 하나로 1/3 씩 가고,"
        " DNAT 과 MASQUERADE 가 적용된다"
    ),
    "the map nodeports holds {port}": "map nodeports 에 {port} 포트가 있다",
    "the map classes leads from its class to a chain": "map classes 에서 그 class 는 체인 하나로 이어진다",
    "each of the study's three endpoints is in one slot of three": (
        "스터디의 엔드포인트 3개가 slot 3개에 하나씩 들어 있다"
    ),
    "{chain} takes one of the three slots at random, each as likely as the next": (
        "{chain} 체인은 slot 3개 중 하나를 같은 확률로 랜덤하게 고른다"
    ),
    "node ports are asked after the Services' addresses, and for the node's own address alone": (
        "NodePort 는 서비스의 IP 다음에, 목적지가 노드 자신의 IP 인 경우에만 확인한다"
    ),
    "traced: {chain} -> {next}": "trace: {chain} -> {next}",
    "traced: {chain} marks the packet: its source is to be rewritten": (
        "trace: {chain} 에서 패킷에 mark 를 한다 (출발지를 바꿀 대상)"
    ),
    "traced: {chain} rewrites its destination (DNAT)": "trace: {chain} 에서 목적지를 바꾼다 (DNAT)",
    "traced: {chain} rewrites its source (MASQUERADE)": "trace: {chain} 에서 출발지를 바꾼다 (MASQUERADE)",
    "and nothing else": "그 밖의 룰에는 매칭되지 않는다",
    "the packet came to the node port": "패킷은 NodePort 로 들어왔다",
    "and goes on to one of the three endpoints": "그리고 엔드포인트 3개 중 하나로 나간다",
    # S7, mode iptables
    "iptables -t nat -S, with counters": "iptables 정책 확인 (iptables -t nat -S, 카운터 포함)",
    "PREROUTING leads by KUBE-NODEPORTS, EXT, SVC and SEP to DNAT and MASQUERADE, by the study's very names": (
        "PREROUTING 에서 KUBE-NODEPORTS, EXT, SVC, SEP 를 거쳐 DNAT 과 MASQUERADE 로 이어지고,"
        " 체인 이름은 스터디와 똑같다"
    ),
    "the call was answered": "요청에 응답이 온다",
    "{chain} -> {target} counted the call": "{chain} -> {target}: 이 요청이 카운터에 잡힌다",
    "{chain} chose one endpoint's chain": "{chain} 에서 엔드포인트 체인 하나가 선택된다",
    "node ports are asked last, for the node's own addresses (--dst-type LOCAL)": (
        "NodePort 는 맨 마지막에, 목적지가 노드 자신의 IP 인 경우에만 확인한다 (--dst-type LOCAL)"
    ),
    "the endpoints' chains have the study's very names": "엔드포인트 체인의 이름이 스터디와 똑같다",
    "the probabilities are 1/3, 1/2 and none": "확률은 차례로 1/3, 1/2, 없음이다",
    # S8
    "DNAT and SNAT on the way in, and the way back": "DNAT, SNAT 그리고 리턴 트래픽",
    "conntrack holds both translations, and the pod sees the node it was entered by": (
        "conntrack 에 두 변환이 모두 남고, 파드는 인입 노드를 상대방으로 본다"
    ),
    "the pod sees the node that was entered as its peer": "파드는 인입 노드를 상대방으로 본다",
    "DNAT: sent to the node port, the reply is expected from a pod's 8080": (
        "DNAT: NodePort 로 보냈는데, 기대하는 응답은 파드의 8080 포트에서 온다"
    ),
    "SNAT: the client's address is replaced by the node's, so the reply comes back to the node": (
        "SNAT: 클라이언트 IP 가 노드 IP 로 바뀌므로, 응답은 그 노드로 돌아온다"
    ),
    "{node} carries it on from the node that was entered, and the pod's answer goes back there": (
        "{node} 에서는 인입 노드가 보낸 연결로 보이고, 파드의 응답도 인입 노드로 돌아간다"
    ),
    "{node} tracks no connection of the client from port {source} to port {port}": (
        "{node} 의 conntrack 에 클라이언트의 {source} 포트에서 {port} 포트로 가는 연결이 없다"
    ),
    # S9
    "sessionAffinity: ClientIP": "sessionAffinity: ClientIP 설정",
    "every call of one client meets one pod, until the timeout; another client may meet another": (
        "한 클라이언트의 요청은 타임아웃 전까지 모두 같은 파드로 가고, 다른 클라이언트는 다른 파드로 갈 수 있다"
    ),
    "every call of one client meets one pod": "한 클라이언트의 요청은 모두 같은 파드로 간다",
    "until the timeout: after {seconds} s of silence clients may meet another": (
        "타임아웃까지만 그렇다: {seconds}초 동안 접속이 없으면 다른 파드로 갈 수 있다"
    ),
    # S10
    "externalTrafficPolicy: Local": "externalTrafficPolicy: Local 설정",
    "nodes with a pod answer with it and it sees the client; a node with none does not answer": (
        "파드가 있는 노드는 자기 파드로 응답하고 클라이언트 IP 가 보존된다. 파드가 없는 노드는 응답하지 않는다"
    ),
    "the policy is Local": "정책이 Local 로 바뀐다",
    "{node} answers with its own pod, which sees the client's own address": (
        "{node} 에 접속하면 그 노드의 파드가 응답하고, 파드는 클라이언트의 IP 를 그대로 본다"
    ),
    "{node} has no pod and does not answer: curl times out (28), is not refused (7)": (
        "{node} 에는 파드가 없어 응답이 없다: curl 은 7(거절)이 아니라 28(타임아웃)로 끝난다"
    ),
    # S11
    "what NodePort lacks: type LoadBalancer": "NodePort 부족한 점과 LoadBalancer",
    "one address, only on a node with a ready pod, as health checks tell; the client's address is kept": (
        "IP 하나로 접속한다. 이 IP 는 헬스체크에 따라 ready 파드가 있는 노드에만 있고, 클라이언트 IP 는 보존된다"
    ),
    "one address of its own": "서비스 전용 IP 가 하나 있다",
    "it answers, and the pod sees the client's own address": (
        "그 IP 로 접속하면 응답이 오고, 파드는 클라이언트의 IP 를 그대로 본다"
    ),
    "health check: {node} has {count} ready pods and answers {code}": (
        "헬스체크: {node} 의 ready 파드는 {count}개, 응답 코드는 {code}"
    ),
    "{node} answers ARP for it ({mac})": "{node} 에서 이 IP 의 ARP 요청에 응답한다 ({mac})",
    "{node} answers neighbour solicitations for it ({mac})": (
        "{node} 에서 이 IP 의 NS(Neighbor Solicitation)에 응답한다 ({mac})"
    ),
    "{node} lost its pod: the address moved to a node that has one": (
        "{node} 에서 파드가 없어지자, 파드가 있는 노드로 IP 가 옮겨 간다"
    ),
    "the same address answers from there": "같은 IP 로 접속하면 그 노드에서 응답이 온다",
    "no node took the load balancer's address within 10 s": "10초 안에 로드밸런서의 IP 를 가진 노드가 나오지 않았다",
    "{node} kept the load balancer's address for 10 s": "10초가 지나도 로드밸런서의 IP 가 {node} 에 남아 있다",
    # S12
    "readiness probes, Endpoints and EndpointSlices": "Readiness Probe + Endpoints, EndpointSlice",
    "a failing pod leaves every node's rules and comes back; a change sends one slice of at most 100": (
        "프로브가 실패한 파드는 모든 노드의 룰에서 빠졌다가 돌아온다."
        " 파드가 바뀌면 최대 100개짜리 슬라이스 하나만 전달된다"
    ),
    "its probe fails: it left the slice's ready endpoints": "프로브가 실패하자 슬라이스의 ready 엔드포인트에서 빠진다",
    "no node's rules lead to it": "어느 노드의 룰도 이 파드로 보내지 않는다",
    "the calls go to the others": "요청은 나머지 파드로 간다",
    "its probe succeeds: it is back in the slice": "프로브가 성공하자 슬라이스에 다시 들어온다",
    "and in every node's rules": "모든 노드의 룰에도 다시 들어온다",
    "104 endpoints stand in several slices of at most {limit}": (
        "엔드포인트 104개가 최대 {limit}개씩 여러 슬라이스에 나뉘어 있다"
    ),
    "one pod less changed one slice, the others were not sent": (
        "파드 하나를 줄이면 슬라이스 하나만 바뀌고, 나머지는 전달되지 않는다"
    ),
    "the pods without the probe are still there after 10 s": "10초가 지나도 프로브가 없는 이전 파드가 남아 있다",
    "the slices of {service} did not come to {endpoints} ready endpoints within 30 s": (
        "30초 안에 {service} 의 ready 엔드포인트가 {endpoints}개로 맞춰지지 않았다"
    ),
    # S13
    "the ClusterIP path": "ClusterIP 로 접속 (내부에서도 같은 길)",
    "pods reach the Service by its ClusterIP:9000 from every node": (
        "모든 노드의 파드가 ClusterIP:9000 으로 서비스에 접속할 수 있다"
    ),
    "pod {pod} on {node} reaches {url}, and is seen by its own address": (
        "{node} 의 파드 {pod}: {url} 접속에 성공하고, 엔드포인트는 이 파드의 IP 를 그대로 본다"
    ),
}

_OF_ALL_ROWS = {
    "the row could be walked to its end": "이 항목을 끝까지 진행할 수 있다",
    "during the call": "요청을 보내는 동안 실행",
    "the rules of {nodes} lack {pattern!r}": "{nodes} 의 룰에 {pattern!r} 패턴이 없다",
    "the rules of {nodes} still hold {pattern!r}": "{nodes} 의 룰에 {pattern!r} 패턴이 아직 남아 있다",
}

_PICTURE = {
    "client {client}": "클라이언트 {client}",
    "{node}  (the node entered)": "{node}  (인입 노드)",
    "DNAT  {before}  becomes  {after}": "DNAT  {before}  ->  {after}",
    "SNAT  {before}  becomes  {after}": "SNAT  {before}  ->  {after}",
    "conntrack remembers both and undoes them for the reply": "conntrack 이 두 변환을 기억했다가 응답에서 원복한다",
    "routes to pod {pod}": "라우팅: 파드 {pod}",
    "pod {pod}": "파드 {pod}",
    "{place}   sees its peer as {peer}": "{place}   파드가 보는 상대방: {peer}",
}

_AROUND = {
    "making {number} hosts": "호스트 {number}개를 만듭니다",
    "linking them": "호스트를 서로 연결합니다",
    "starting {number} services": "프로세스 {number}개를 시작합니다",
    "waiting for the nodes to be Ready": "노드가 Ready 될 때까지 기다립니다",
    "waiting for the first pods to run": "첫 파드가 실행될 때까지 기다립니다",
    "lab {name!r} is up in proxy mode {mode}; the API server listens on {api}": (
        "실습 클러스터 {name!r} 준비 완료 (프록시 모드 {mode}). API 서버: {api}"
    ),
    "lab {name!r} is up in proxy mode {mode} with IPv4 and IPv6; the API server listens on {api}": (
        "실습 클러스터 {name!r} 준비 완료 (프록시 모드 {mode}, IPv4 + IPv6). API 서버: {api}"
    ),
    "lab {name!r} stays up; take it down with: fairway down --name {name}": (
        "실습 클러스터 {name!r} 그대로 유지. 내리는 명령: fairway down --name {name}"
    ),
    "there is no kubectl on PATH: the same requests are made without it": (
        "PATH 에 kubectl 이 없어 같은 요청을 직접 보냅니다"
    ),
    "over {family}": "({family})",
    "... and {count} more lines": "... 외 {count}줄",
    "seen: {seen}": "실제: {seen}",
    "holds": "통과",
    "does not hold": "실패",
    "The way of one packet, from conntrack": "패킷 하나의 경로 (conntrack 기준)",
    "What the study claims": "스터디 확인 결과",
    "row": "항목",
    "over": "IP",
    "claim": "내용",
    "verdict": "결과",
    "{held} of {all} claims hold.": "{all}개 항목 중 {held}개를 통과했습니다.",
}

KOREAN = {**_ROWS, **_OF_ALL_ROWS, **_PICTURE, **_AROUND}
"""The English sentence as the code has it -> the Korean one, with the same placeholders."""
