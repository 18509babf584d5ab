// Each client library, in each way to authenticate: a small app in a process of its own takes every
// step, and has its user come to the browser here.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { User, arrival, decide, logIn } from './browser.mjs';
import { check, scenario } from './report.mjs';
import { API, CALLBACK, ISSUER, PASSWORD } from './world.mjs';

const LIBRARIES = [
  ['authlib', 'authlib_app.py'],
  ['requests-oauthlib', 'requests_oauthlib_app.py'],
  ['openid-client', 'openid_client_app.mjs'],
  ['oauth4webapi', 'oauth4webapi_app.mjs'],
];
// As RFC 8414 calls it, and what the client is registered with: only this way is let in.
const AUTHENTICATIONS = [
  ['client_secret_basic', ['--authentication', 'basic']],
  ['client_secret_post', ['--authentication', 'post', '--require-pkce']],
  ['none', ['--public']],
];
const STEPS = [
  'discovery',
  'authorization',
  'token',
  'call',
  'introspection',
  'refresh',
  'revocation of the access token',
  'refresh after it',
  'revocation of the refresh token',
];
const LIMIT = 60_000;

export async function runApps(world, browser, { here, python }) {
  const resourceServer = await world.manage([
    'client',
    'create',
    '--name',
    'The API',
    '--resource-server',
  ]);
  for (const [library, file] of LIBRARIES) {
    for (const [authentication, registration] of AUTHENTICATIONS) {
      const name = `${library}, ${authentication}`;
      const client = await world.client(name, registration);
      const script = path.join(here, 'apps', file);
      const command = [file.endsWith('.py') ? python : process.execPath, script];
      await scenario(name, LIMIT, async () => {
        const app = new App(world, client, authentication, resourceServer);
        await app.run(name, command, browser);
      });
    }
  }
}

class App {
  constructor(world, client, authentication, resourceServer) {
    const redirect = authentication === 'none' ? world.loopbackCallback : CALLBACK;
    this.environment = {
      ...world.environment,
      ISSUER,
      API,
      CLIENT_ID: client.client_id,
      AUTHENTICATION: authentication,
      REDIRECT_URI: redirect,
      SCOPE: 'domains:read domains:write',
      RESOURCE_SERVER_ID: resourceServer.client_id,
      RESOURCE_SERVER_SECRET: resourceServer.client_secret,
    };
    if (client.client_secret) this.environment.CLIENT_SECRET = client.client_secret;
  }

  // Every step has to be reported by the app, each in its turn, and the app has to end well.
  async run(name, [command, script], browser) {
    const child = spawn(command, [script], { env: this.environment });
    const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT - 5_000);
    let said = '';
    // An app that has ended tells why on standard error.
    child.stdin.on('error', () => {});
    child.stderr.on('data', (bytes) => (said += bytes));
    const taken = [];
    for await (const line of createInterface({ input: child.stdout })) {
      const { visit, step, wrong } = JSON.parse(line);
      if (visit) child.stdin.write(`${await goThrough(browser, visit)}\n`);
      if (step) {
        taken.push(step);
        check(`${name}: ${step}`, wrong.length === 0, `not as it should be: ${wrong.join(', ')}`);
      }
    }
    clearTimeout(limit);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const isWhole = child.exitCode === 0 && taken.join() === STEPS.join();
    if (!isWhole) check(`${name}: every step`, false, `ended after ${taken.at(-1)}: ${said}`);
  }
}

// The user logs in and says yes; returns the address of the callback.
async function goThrough(browser, url) {
  const user = await User.sitDown(browser);
  try {
    const page = await user.open(url);
    await logIn(page, 'alice', PASSWORD);
    await decide(page, 'Allow');
    await arrival(page);
    return page.url();
  } finally {
    await user.leave();
  }
}
