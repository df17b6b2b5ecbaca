"""Tokens in the form of a Kubernetes ServiceAccount's, with a signature of no key."""

import base64
import json


def jwt(**claims: object) -> str:
    """Return a JWT with these claims."""
    return f"{_encoded({'alg': 'RS256'})}.{_encoded(claims)}.c2ln"


def subject(token: str) -> str:
    """Return the subject of a JWT, "" for none; of what is none, itself."""
    parts = token.split(".")
    if len(parts) != 3:
        return token
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return str(claims.get("sub", ""))


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
