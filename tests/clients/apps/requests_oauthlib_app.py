"""An app with requests-oauthlib. As its own defaults have it, with a secret and without PKCE, the
requests are the seed's; the other two ways to authenticate use PKCE."""

import requests
from oauthlib.oauth2 import WebApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

import app

# The library has no discovery; its users read the document themselves.
answer = requests.get(f"{app.ISSUER}/.well-known/oauth-authorization-server", timeout=10)
answer.raise_for_status()
metadata = answer.json()
app.step("discovery", issuer=metadata["issuer"] == app.ISSUER)

is_basic = app.AUTHENTICATION == "client_secret_basic"
session = OAuth2Session(
    app.CLIENT_ID,
    redirect_uri=app.REDIRECT_URI,
    scope=app.SCOPE.split(),
    pkce=None if is_basic else "S256",
)
# How the library is told to authenticate: by `auth`, or by more members of the form.
auth = HTTPBasicAuth(app.CLIENT_ID, app.CLIENT_SECRET) if is_basic else None
form = {} if is_basic else {"client_id": app.CLIENT_ID}
if app.AUTHENTICATION == "client_secret_post":
    form["client_secret"] = app.CLIENT_SECRET

# Authorization. The library compares `state` below; `iss` (RFC 9207) is the app's to compare.
url, state = session.authorization_url(metadata["authorization_endpoint"])
callback = app.visit(url)
answer = app.parameters(callback)
app.step(
    "authorization",
    iss=answer.get("iss") == metadata["issuer"],
    state=answer.get("state") == state,
)

# The library takes no callback without TLS, and a public app on this machine has no other: there
# the app takes the code out itself.
has_tls = callback.startswith("https:")
token = session.fetch_token(
    metadata["token_endpoint"],
    authorization_response=callback if has_tls else None,
    code=None if has_tls else answer["code"],
    client_secret=app.CLIENT_SECRET,
    include_client_id=not is_basic,
)
app.step(
    "token",
    type=token["token_type"] == "Bearer",
    one_hour=token["expires_in"] == 3600,
    scope=list(token["scope"]) == app.SCOPE.split(),
)


def call():
    return session.get(app.API, timeout=10)


def refresh():
    return session.refresh_token(metadata["token_endpoint"], auth=auth, **form)


def introspect(access_token):
    """The library has no introspection: a plain request, as the client or as a resource server."""
    asker, members = (auth, form)
    if app.AUTHENTICATION == "none":
        asker, members = (HTTPBasicAuth(*app.RESOURCE_SERVER), {})
    found = requests.post(
        metadata["introspection_endpoint"],
        data={"token": access_token, **members},
        auth=asker,
        timeout=10,
    )
    found.raise_for_status()
    return found.json()


def revoke(hint):
    """oauthlib prepares the request (RFC 7009), and leaves sending it to others."""
    url, headers, body = WebApplicationClient(app.CLIENT_ID).prepare_token_revocation_request(
        metadata["revocation_endpoint"], session.token[hint], token_type_hint=hint, **form
    )
    answer = requests.post(url, headers=headers, data=body, auth=auth, timeout=10)
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
refresh()
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
refresh()
app.step("refresh after it", call=call().status_code == 200)

# The refresh token, and with it everything.
revoke("refresh_token")
app.step(
    "revocation of the refresh token",
    refused=app.soon(lambda: call().status_code == 401),
    inactive=introspect(session.token["access_token"]) == {"active": False},
)
