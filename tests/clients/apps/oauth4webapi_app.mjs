// An app with oauth4webapi: nothing is hidden, each request and its check are two calls.

import * as oauth from 'oauth4webapi';
import * as app from './app.mjs';

// Discovery from the API alone, as an agent does it: the challenge of a 401 names the resource's
// metadata (RFC 9728), that names the issuer, and the issuer has metadata of its own (RFC 8414).
const call = async (token) => {
  try {
    return await oauth.protectedResourceRequest(token, 'GET', app.api);
  } catch (error) {
    // The library turns a challenge into an error.
    if (error instanceof oauth.WWWAuthenticateChallengeError) return error;
    throw error;
  }
};
const refused = await call('no-token-at-all');
const challenge = refused.cause[0].parameters;
const resource = new URL(app.api.origin);
const found = await oauth.resourceDiscoveryRequest(resource);
const resourceMetadata = await oauth.processResourceDiscoveryResponse(resource, found.clone());
const issuer = new URL(resourceMetadata.authorization_servers[0]);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' });
const as = await oauth.processDiscoveryResponse(issuer, discovered);
app.step('discovery', {
  challenge: challenge.resource_metadata === found.url,
  scope: challenge.error === 'invalid_token',
  issuer: as.issuer === app.issuer.origin,
});

const client = { client_id: app.clientId };
const authentications = {
  client_secret_basic: oauth.ClientSecretBasic,
  client_secret_post: oauth.ClientSecretPost,
  none: oauth.None,
};
const authentication = authentications[app.authentication](app.clientSecret);

// Authorization.
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const url = new URL(as.authorization_endpoint);
url.search = new URLSearchParams({
  client_id: app.clientId,
  redirect_uri: app.redirectUri,
  response_type: 'code',
  scope: app.scope,
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
});
const callback = await app.visit(url);
// The library compares `state`, and `iss` because the metadata says that it comes (RFC 9207).
const parameters = oauth.validateAuthResponse(as, client, callback, state);
app.step('authorization', { iss: parameters.get('iss') === as.issuer });

const token = await oauth.processAuthorizationCodeResponse(
  as,
  client,
  await oauth.authorizationCodeGrantRequest(
    as,
    client,
    authentication,
    parameters,
    app.redirectUri,
    verifier,
  ),
);
app.step('token', {
  type: token.token_type === 'bearer',
  one_hour: token.expires_in === 3600,
  scope: token.scope === app.scope,
});

const introspect = async (accessToken) => {
  const asker =
    app.authentication === 'none'
      ? [{ client_id: app.resourceServer.id }, oauth.ClientSecretBasic(app.resourceServer.secret)]
      : [client, authentication];
  const response = await oauth.introspectionRequest(as, ...asker, accessToken);
  return oauth.processIntrospectionResponse(as, asker[0], response);
};
const refresh = async ({ refresh_token: refreshToken }) =>
  oauth.processRefreshTokenResponse(
    as,
    client,
    await oauth.refreshTokenGrantRequest(as, client, authentication, refreshToken),
  );
const revoke = async (revoked) =>
  oauth.processRevocationResponse(
    await oauth.revocationRequest(as, client, authentication, revoked),
  );

const answer = await call(token.access_token);
// A resource server of somebody else's would check the token like this (RFC 9068 §4), by the
// published keys.
const seen = new Request(app.api, { headers: { authorization: `Bearer ${token.access_token}` } });
const claims = await oauth.validateJwtAccessToken(as, seen, resourceMetadata.resource);
const { headers: received } = await answer.json();
app.step('call', {
  status: answer.status === 200,
  client: received['x-auth-client-id'] === app.clientId,
  token_kept: !('authorization' in received),
  claims: claims.client_id === app.clientId && claims.scope === app.scope,
});
const told = await introspect(token.access_token);
app.step('introspection', {
  active: told.active === true,
  client: told.client_id === app.clientId,
  scope: told.scope === app.scope,
});

const second = await refresh(token);
app.step('refresh', {
  access_token: second.access_token !== token.access_token,
  refresh_token: second.refresh_token !== token.refresh_token,
  call: (await call(second.access_token)).status === 200,
});

const isRefused = async ({ access_token: accessToken }) => (await call(accessToken)).status === 401;
const isInactive = async ({ access_token: accessToken }) => {
  const { active, ...rest } = await introspect(accessToken);
  return active === false && Object.keys(rest).length === 0;
};

// The access token alone: the grant lives, and refreshes.
await revoke(second.access_token);
app.step('revocation of the access token', {
  refused: await app.soon(() => isRefused(second)),
  inactive: await isInactive(second),
});
const third = await refresh(second);
app.step('refresh after it', { call: (await call(third.access_token)).status === 200 });

// The refresh token, and with it everything.
await revoke(third.refresh_token);
app.step('revocation of the refresh token', {
  refused: await app.soon(() => isRefused(third)),
  inactive: await isInactive(third),
});
