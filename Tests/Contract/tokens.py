"""Access tokens: taken apart, verified, and forged in all the ways a verifier must not fall for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time

from suite import Failure, Skip, expect

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    CAN_SIGN = True
except ImportError:
    CAN_SIGN = False

SPKI_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def take_apart(token: str) -> tuple[dict, dict, bytes]:
    parts = token.split(".")
    expect(len(parts) == 3, f"an access token of {len(parts)} parts", "a JWT of three")
    try:
        return json.loads(unb64(parts[0])), json.loads(unb64(parts[1])), unb64(parts[2])
    except ValueError as error:
        raise Failure(f"saw an access token that does not decode ({error}), expected a JWT") from None


def signature_is_good(token: str, key: dict) -> bool:
    if not CAN_SIGN:
        raise Skip("the Python package cryptography cannot be imported")
    signed, _, _ = token.rpartition(".")
    raw = take_apart(token)[2]
    expect(len(raw) == 64, f"a signature of {len(raw)} bytes", "64, as RFC 7518 says for ES256")
    public = ec.EllipticCurvePublicNumbers(int.from_bytes(unb64(key["x"]), "big"), int.from_bytes(unb64(key["y"]), "big"), ec.SECP256R1()).public_key()
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        public.verify(signature, signed.encode(), ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def forgeries(token: str, keys: dict) -> dict[str, str]:
    """Tokens that must be refused, made from a good one and the public key set."""
    head, claims, signature = take_apart(token)
    text_head, text_claims, text_signature = token.split(".")
    now = int(time.time())
    admin = {**claims, "roles": ["customer", "vendor", "admin", "auditor"]}
    flipped = bytes([*signature[:20], signature[20] ^ 1, *signature[21:]])
    made = {
        "three letters": "a.b.c",
        "only dots": "..",
        "word": "garbage",
        "one character less": token[1:],
        "fourth part": token + "." + text_signature,
        "no signature": f"{text_head}.{text_claims}.",
        "two parts": f"{text_head}.{text_claims}",
        "flipped signature bit": f"{text_head}.{text_claims}.{b64(flipped)}",
        "zero signature": f"{text_head}.{text_claims}.{b64(bytes(64))}",
        "random signature": f"{text_head}.{text_claims}.{b64(os.urandom(64))}",
        "DER signature": f"{text_head}.{text_claims}.{b64(der(signature))}",
        "raised roles, old signature": f"{text_head}.{encoded(admin)}.{text_signature}",
        "later exp, old signature": f"{text_head}.{encoded({**claims, 'exp': now + 10**6})}.{text_signature}",
        "expired, old signature": f"{text_head}.{encoded({**claims, 'iat': now - 2000, 'exp': now - 1100})}.{text_signature}",
        "wrong audience, old signature": f"{text_head}.{encoded({**claims, 'aud': 'https://elsewhere.example'})}.{text_signature}",
        "claims that are no JSON": f"{text_head}.{b64(b'not json')}.{text_signature}",
        "claims nested deeply": f"{text_head}.{b64(b'[' * 4000)}.{text_signature}",
        "kid that is a path": forged({**head, "kid": "../../../dev/null"}, admin, b""),
    }
    for name in ("none", "None", "NONE", "nOnE", ""):
        made[f"alg {name!r}"] = f"{encoded({**head, 'alg': name})}.{encoded(admin)}."
        made[f"alg {name!r} with a signature"] = f"{encoded({**head, 'alg': name})}.{encoded(admin)}.{text_signature}"
    key = next((key for key in keys.get("keys", []) if key.get("kid") == head.get("kid")), None)
    if key and "x" in key and "y" in key:
        point = unb64(key["x"]) + unb64(key["y"])
        pem = "-----BEGIN PUBLIC KEY-----\n" + fold(base64.b64encode(SPKI_P256 + point).decode()) + "\n-----END PUBLIC KEY-----"
        secrets = {"PEM": pem.encode(), "PEM and newline": pem.encode() + b"\n", "DER": SPKI_P256 + point, "point": point,
                   "uncompressed point": b"\x04" + point, "JWK": json.dumps(key, separators=(",", ":")).encode(), "nothing": b""}
        for name, secret in secrets.items():
            made[f"HS256 with {name}"] = forged({**head, "alg": "HS256"}, admin, secret)
    if CAN_SIGN:
        own = ec.generate_private_key(ec.SECP256R1())
        numbers = own.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}
        made |= {
            "own key, kid of theirs": signed(own, head, admin),
            "own key, unknown kid": signed(own, {**head, "kid": b64(os.urandom(12))}, admin),
            "own key, no kid": signed(own, {name: value for name, value in head.items() if name != "kid"}, admin),
            "own key in the header": signed(own, {**head, "jwk": {**jwk, "kid": head.get("kid")}}, admin),
            "own key by jku": signed(own, {**head, "jku": "http://127.0.0.1:9/jwks.json"}, admin),
            "own key, expired": signed(own, head, {**admin, "iat": now - 2000, "exp": now - 1100}),
            "own key, other issuer": signed(own, head, {**admin, "iss": "https://elsewhere.example"}),
            "own key, wrong audience": signed(own, head, {**admin, "aud": "https://elsewhere.example"}),
        }
    return made


def encoded(value: dict) -> str:
    return b64(json.dumps(value, separators=(",", ":")).encode())


def forged(head: dict, claims: dict, secret: bytes) -> str:
    text = f"{encoded(head)}.{encoded(claims)}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def signed(key, head: dict, claims: dict) -> str:
    text = f"{encoded(head)}.{encoded(claims)}"
    r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def der(signature: bytes) -> bytes:
    def integer(raw: bytes) -> bytes:
        raw = raw.lstrip(b"\0") or b"\0"
        raw = b"\0" + raw if raw[0] & 0x80 else raw
        return b"\x02" + bytes([len(raw)]) + raw

    body = integer(signature[:32]) + integer(signature[32:])
    return b"\x30" + bytes([len(body)]) + body


def fold(text: str) -> str:
    return "\n".join(text[start:start + 64] for start in range(0, len(text), 64))
