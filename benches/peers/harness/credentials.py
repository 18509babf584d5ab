"""The credentials of the benches: a certificate, 10,100 API keys, and tokens good and bad.

Made once and kept for 20 hours, because the tokens last for 24. They are worth nothing outside."""
import base64
import json
import random
import shutil
import string
import subprocess
import time
import zlib

from .places import CREDENTIALS

ISSUER, AUDIENCE = "https://auth.bench.test", "portcullis-bench"
SERVICES = ["domains", "vps", "email", "billing"]
KEPT_FOR = 20 * 3600
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
FEW_SCOPES = "vps:read billing:read"


def make():
    """Makes them where there are none, or where they have become old."""
    done = CREDENTIALS / "done"
    if done.exists() and time.time() - done.stat().st_mtime < KEPT_FOR:
        return
    shutil.rmtree(CREDENTIALS, ignore_errors=True)
    CREDENTIALS.mkdir(parents=True)
    chance = random.Random(7)
    _make_certificate()
    _make_keys(chance)
    _make_tokens(chance)
    done.write_text("")


def keys():
    """Every (key, "scope scope")."""
    return [tuple(line.split("\t")) for line in (CREDENTIALS / "keys.tsv").read_text().splitlines()]


def tokens():
    """Of each algorithm, one token for each way in which it can be right or wrong."""
    return json.loads((CREDENTIALS / "tokens.json").read_text())


def header_lines(name):
    """The file of header lines that a load tool sends in turn."""
    return CREDENTIALS / ("hdr-" + name)


def with_checksum(text):
    """A key in the product's format: at its end the CRC-32 of all before it, as 6 base62 digits."""
    return text + _base62(zlib.crc32(text.encode()), 6)


def _base62(number, width):
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def _make_certificate():
    certificate, key = CREDENTIALS / "server.pem", CREDENTIALS / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (CREDENTIALS / "both.pem").write_text(certificate.read_text() + key.read_text())


def _make_keys(chance):
    every = ["%s:%s" % (service, right) for service in SERVICES for right in ("read", "write")]
    mixes = [[], ["domains:write"], ["vps:read", "email:read"], every[1:]]

    def key(scopes):
        return with_checksum("osir_live_" + _base62(chance.getrandbits(256), 43)), scopes

    good = [key(" ".join(["domains:read"] + mixes[number % 4])) for number in range(10000)]
    poor = [key(FEW_SCOPES) for _ in range(100)]
    (CREDENTIALS / "keys.tsv").write_text("".join("%s\t%s\n" % pair for pair in good + poor))
    header_lines("keys").write_text("".join("X-API-Key: %s\n" % key for key, _ in good))


def _make_tokens(chance):
    issuer = Issuer(chance)
    issuer.publish()
    bad = {}
    for algorithm in ("RS256", "ES256"):
        good = [issuer.token(algorithm) for _ in range(1000)]
        lines = ["Authorization: Bearer %s\n" % token for token in good]
        header_lines(algorithm.lower() + "-1").write_text(lines[0])
        header_lines(algorithm.lower() + "-1000").write_text("".join(lines))
        bad[algorithm.lower()] = _variations(issuer, algorithm, good[0])
    (CREDENTIALS / "tokens.json").write_text(json.dumps(bad))


def _variations(issuer, algorithm, good):
    """The good token, and one for each thing that must be found out."""
    head, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    more = _encoded({**claims, "scope": "domains:read billing:write"})
    other = "B" if signature[10] == "A" else "A"
    return {
        "valid": good,
        "signature changed": "%s.%s.%s" % (head, payload, signature[:10] + other + signature[11:]),
        "payload changed": "%s.%s.%s" % (head, more, signature),
        "expired": issuer.token(algorithm, exp=int(time.time()) - 600),
        "wrong issuer": issuer.token(algorithm, iss="https://evil.test"),
        "wrong audience": issuer.token(algorithm, aud="other"),
        "alg none": "%s.%s." % (_encoded({"alg": "none", "typ": "JWT"}), payload),
        "no scope": issuer.token(algorithm, scope="vps:read"),
    }


class Issuer:
    """Signs access tokens as an identity provider would."""

    def __init__(self, chance):
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        self.chance = chance
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def publish(self):
        """Writes the public keys: as PEM and as one JWK set."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        for name, key in (("rs256", self.rsa), ("es256", self.ec)):
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (CREDENTIALS / (name + ".pub.pem")).write_bytes(pem)
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        rs = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rs", "n": _number(r.n, 256), "e": _number(r.e, 3)}
        es = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "es"}
        es.update(x=_number(e.x, 32), y=_number(e.y, 32))
        (CREDENTIALS / "jwks.json").write_text(json.dumps({"keys": [rs, es]}))

    def token(self, algorithm, **claims):
        head = {"alg": algorithm, "typ": "JWT", "kid": algorithm[:2].lower()}
        signed = _encoded(head) + "." + _encoded({**self._claims(), **claims})
        sign = self._rs256 if algorithm == "RS256" else self._es256
        return signed + "." + _base64(sign(signed.encode()))

    def _claims(self):
        now = int(time.time())
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "user_%06d" % self.chance.randrange(10**6),
            "iat": now,
            "exp": now + 86400,
            "jti": "%032x" % self.chance.getrandbits(128),
            "scope": "domains:read domains:write vps:read",
        }

    def _rs256(self, message):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self.rsa.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def _es256(self, message):
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        # RFC 7518 §3.4: r and s as 32 octets each, not DER.
        r, s = utils.decode_dss_signature(self.ec.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _base64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _encoded(value):
    return _base64(json.dumps(value).encode())


def _number(value, width):
    return _base64(value.to_bytes(width, "big"))
