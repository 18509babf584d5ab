// An app with openid-client, in its plain OAuth 2.0 mode.

import * as client from 'openid-client';
import * as app from './app.mjs';

const authentications = {
  client_secret_basic: client.ClientSecretBasic,
  client_secret_post: client.ClientSecretPost,
  none: client.None,
};
// Without `oauth2` it would look for OpenID Connect, which this server does not speak.
const discover = (id, secret, authentication) =>
  client.discovery(app.issuer, id, secret, authentication, { algorithm: 'oauth2' });
const config = await discover(
  app.clientId,
  app.clientSecret,
  authentications[app.authentication](app.clientSecret),
);
const metadata = config.serverMetadata();
app.step('discovery', {
  issuer: metadata.issuer === app.issuer.origin,
  pkce: metadata.supportsPKCE('S256'),
});

// Authorization. The library compares `state` and `iss` below.
const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: app.redirectUri,
  scope: app.scope,
  state: expectedState,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
});
const callback = await app.visit(url);
app.step('authorization', { iss: callback.searchParams.get('iss') === metadata.issuer });

const token = await client.authorizationCodeGrant(config, callback, {
  pkceCodeVerifier,
  expectedState,
});
app.step('token', {
  type: token.token_type === 'bearer',
  one_hour: token.expires_in === 3600,
  scope: token.scope === app.scope,
});

const call = async ({ access_token: accessToken }) => {
  try {
    return await client.fetchProtectedResource(config, accessToken, app.api, 'GET');
  } catch (error) {
    // The library turns a challenge into an error.
    if (error instanceof client.WWWAuthenticateChallengeError) return error;
    throw error;
  }
};
const introspect = async ({ access_token: accessToken }) => {
  const { id, secret } = app.resourceServer;
  const asker =
    app.authentication === 'none'
      ? await discover(id, secret, client.ClientSecretBasic(secret))
      : config;
  return client.tokenIntrospection(asker, accessToken);
};
const refresh = ({ refresh_token: refreshToken }) => client.refreshTokenGrant(config, refreshToken);

const answer = await call(token);
const { headers: received } = await answer.json();
app.step('call', {
  status: answer.status === 200,
  client: received['x-auth-client-id'] === app.clientId,
  token_kept: !('authorization' in received),
});
const told = await introspect(token);
app.step('introspection', {
  active: told.active === true,
  client: told.client_id === app.clientId,
  scope: told.scope === app.scope,
});

const second = await refresh(token);
app.step('refresh', {
  access_token: second.access_token !== token.access_token,
  refresh_token: second.refresh_token !== token.refresh_token,
  call: (await call(second)).status === 200,
});

const isRefused = async (tokens) => (await call(tokens)).status === 401;
const isInactive = async (tokens) => {
  const { active, ...rest } = await introspect(tokens);
  return active === false && Object.keys(rest).length === 0;
};

// The access token alone: the grant lives, and refreshes.
await client.tokenRevocation(config, second.access_token);
app.step('revocation of the access token', {
  refused: await app.soon(() => isRefused(second)),
  inactive: await isInactive(second),
});
const third = await refresh(second);
app.step('refresh after it', { call: (await call(third)).status === 200 });

// The refresh token, and with it everything.
await client.tokenRevocation(config, third.refresh_token);
app.step('revocation of the refresh token', {
  refused: await app.soon(() => isRefused(third)),
  inactive: await isInactive(third),
});
