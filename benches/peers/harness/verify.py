"""Whether a proxy answers 200, 401 and 403 as it must. One that does not is not measured."""
import http.client
import ssl
from dataclasses import dataclass, replace

from . import credentials, places
from .peers import running

ECHO = "/v1/domains/echo"
REACHED = b"GET /v1/domains/echo HTTP/1.1"  # the upstream answers with the head that reached it


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    headers: dict
    method: str = "GET"
    body: bytes | None = None


def verify(subject, upstream):
    """By name of the case, "ok" or what was wrong; and `tls`, what was agreed on."""
    outcome = {}
    with running(subject, upstream) as peer:
        for case in _cases(subject.mode):
            status, body, tls = _ask(peer.port, case)
            outcome[case.name] = _judge(expected(case, subject.peer), status, body)
            outcome["tls"] = tls
    return outcome


def faults(outcome):
    return {name: said for name, said in outcome.items() if name != "tls" and said != "ok"}


def _cases(mode):
    if mode == "plain":
        return [Case("forwarded", 200, {})]
    return _key_cases() if mode == "apikey" else list(_token_cases())


def _key_cases():
    by_scopes = {scopes: key for key, scopes in reversed(credentials.keys())}
    reader = {"X-API-Key": by_scopes["domains:read"]}
    unknown = credentials.with_checksum("osir_live_" + "0" * 43)
    return [
        Case("valid key", 200, reader),
        Case("unknown key", 401, {"X-API-Key": unknown}),
        Case("no key", 401, {}),
        Case("key without scope", 403, {"X-API-Key": by_scopes[credentials.FEW_SCOPES]}),
        Case("write with a read key", 403, reader, "POST", b"{}"),
    ]


def _token_cases():
    expected = {"valid": 200, "no scope": 403}
    for algorithm, tokens in credentials.tokens().items():
        for name, token in tokens.items():
            case = Case("%s %s" % (algorithm, name), expected.get(name, 401), {"Authorization": "Bearer " + token})
            yield case
            if name == "valid":
                yield Case(case.name + " again", case.status, case.headers)  # from the cache, where there is one
    yield Case("no token", 401, {})


def _ask(port, case):
    trust = ssl.create_default_context(cafile=places.CREDENTIALS / "server.pem")
    connection = http.client.HTTPSConnection("localhost", port, context=trust, timeout=10)
    try:
        connection.connect()
        tls = "%s %s" % (connection.sock.version(), connection.sock.cipher()[0])
        connection.request(case.method, ECHO, headers=case.headers, body=case.body)
        answer = connection.getresponse()
        return answer.status, answer.read(), tls
    finally:
        connection.close()


def expected(case, peer):
    """The case with the status that the peer is known to refuse with; never one that must be let through."""
    for name, status in getattr(peer, "DEVIATES", {}).items():
        if case.name.endswith(name) and case.status != 200:
            return replace(case, status=status)
    return case


def _judge(case, status, body):
    if status != case.status:
        return "got %d, wanted %d" % (status, case.status)
    if (REACHED in body) != (status == 200):
        return "reached the upstream" if status != 200 else "did not reach the upstream"
    return "ok"
