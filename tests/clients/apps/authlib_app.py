"""An app with Authlib, on its integration for requests."""

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import rfc9207
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

import app

# Discovery: RFC 8414, checked by the library member by member.
answer = requests.get(get_well_known_url(app.ISSUER, external=True), timeout=10)
answer.raise_for_status()
metadata = AuthorizationServerMetadata(answer.json())
metadata.validate(metadata_classes=[rfc9207.AuthorizationServerMetadata])
app.step("discovery", issuer=metadata["issuer"] == app.ISSUER)

session = OAuth2Session(
    app.CLIENT_ID,
    app.CLIENT_SECRET,
    scope=app.SCOPE,
    redirect_uri=app.REDIRECT_URI,
    code_challenge_method="S256",
    token_endpoint=metadata["token_endpoint"],
    token_endpoint_auth_method=app.AUTHENTICATION,
    revocation_endpoint_auth_method=app.AUTHENTICATION,
)

# Authorization. The library compares `state` below; `iss` (RFC 9207) is the app's to compare.
verifier = generate_token(48)
url, state = session.create_authorization_url(
    metadata["authorization_endpoint"], code_verifier=verifier
)
callback = app.visit(url)
app.step("authorization", iss=app.parameters(callback).get("iss") == metadata["issuer"])

token = session.fetch_token(authorization_response=callback, state=state, code_verifier=verifier)
app.step(
    "token",
    type=token["token_type"] == "Bearer",
    one_hour=token["expires_in"] == 3600,
    scope=token["scope"] == app.SCOPE,
)


def call():
    return session.get(app.API, timeout=10)


def introspect(access_token):
    """Asks as the client itself, or where that is public, as a resource server."""
    asking = session
    if app.AUTHENTICATION == "none":
        asking = OAuth2Session(*app.RESOURCE_SERVER)
    found = asking.introspect_token(
        metadata["introspection_endpoint"], token=access_token, token_type_hint="access_token"
    )
    found.raise_for_status()
    return found.json()


def revoke(hint):
    answer = session.revoke_token(
        metadata["revocation_endpoint"], token=session.token[hint], token_type_hint=hint
    )
    answer.raise_for_status()


answer = call()
received = answer.json()["headers"]
app.step(
    "call",
    status=answer.status_code == 200,
    client=received["x-auth-client-id"] == app.CLIENT_ID,
    token_kept="authorization" not in received,
)
told = introspect(token["access_token"])
app.step(
    "introspection",
    active=told["active"] is True,
    client=told["client_id"] == app.CLIENT_ID,
    scope=told["scope"] == app.SCOPE,
)

before = dict(token)
session.refresh_token()
app.step(
    "refresh",
    access_token=session.token["access_token"] != before["access_token"],
    refresh_token=session.token["refresh_token"] != before["refresh_token"],
    call=call().status_code == 200,
)

# The access token alone: the grant lives, and refreshes.
revoke("access_token")
app.step(
    "revocation of the access token",
    refused=app.soon(lambda: call().status_code == 401),
    inactive=introspect(session.token["access_token"]) == {"active": False},
)
session.refresh_token()
app.step("refresh after it", call=call().status_code == 200)

# The refresh token, and with it everything.
revoke("refresh_token")
app.step(
    "revocation of the refresh token",
    refused=app.soon(lambda: call().status_code == 401),
    inactive=introspect(session.token["access_token"]) == {"active": False},
)
