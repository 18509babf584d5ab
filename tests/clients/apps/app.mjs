// What each Node.js app has besides its library: who it is, a user with a browser, a word on each
// step. Not here: any OAuth. An app is told who it is by its environment, asks on standard output
// for a page to be visited, and reads on standard input where the browser ended up. HTTPS_PROXY and
// NODE_EXTRA_CA_CERTS lead to the gateway under test.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';

// fetch of Node.js 20 does not look at HTTPS_PROXY by itself.
setGlobalDispatcher(new EnvHttpProxyAgent());

const { env } = process;
export const issuer = new URL(env.ISSUER);
export const api = new URL(env.API);
export const clientId = env.CLIENT_ID;
export const clientSecret = env.CLIENT_SECRET;
// As RFC 8414 calls it: client_secret_basic, client_secret_post or none.
export const authentication = env.AUTHENTICATION;
export const redirectUri = env.REDIRECT_URI;
export const scope = env.SCOPE;
// Whoever may introspect every token. A public client cannot ask by itself.
export const resourceServer = { id: env.RESOURCE_SERVER_ID, secret: env.RESOURCE_SERVER_SECRET };

const say = (line) => console.log(JSON.stringify(line));

// Has the user visit a page, log in and say yes; returns the address of the callback.
export async function visit(url) {
  const lines = createInterface({ input: process.stdin });
  say({ visit: url.href });
  const [callback] = await once(lines, 'line');
  lines.close();
  return new URL(callback);
}

// Says that a step was taken, and what has to be true of it. The first lie ends the app.
export function step(name, facts) {
  const wrong = Object.keys(facts).filter((fact) => !facts[fact]);
  say({ step: name, wrong });
  if (wrong.length > 0) process.exit(1);
}

// Whether something becomes true before long: a revocation is followed, not awaited.
export async function soon(condition) {
  const deadline = Date.now() + 5000;
  for (;;) {
    const holds = await condition();
    if (holds || Date.now() > deadline) return holds;
    await pause(20);
  }
}
