// A gateway as a fresh installation has it, with the example gateway.yaml, and what stands around
// it: an upstream, the web site of an app, and the proxy that leads to them. All of it is on ports
// of the system's choice on loopback, and ends with this process.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { startProxy } from './proxy.mjs';

export const ISSUER = 'https://osir.com';
export const API = 'https://api.osir.com/v1/domains';
export const CALLBACK = 'https://yourapp.com/callback';
export const PASSWORD = 'correct horse battery staple';
const LOOPBACK_CALLBACK = 'http://127.0.0.1/callback';
// All of the example's, in its order.
export const SCOPES = ['domains', 'vps', 'email', 'billing'].flatMap((service) => [
  `${service}:read`,
  `${service}:write`,
]);
const STARTED_WITHIN = 30_000;

export class World {
  // Makes everything in `folder`, which is there and empty; logs go to `artefacts`.
  static async start({ root, binary, folder, artefacts }) {
    const world = new World();
    Object.assign(world, { binary, folder, artefacts, pages: new Map() });
    world.upstream = await listen(http.createServer(echo));
    await world.#configure(root);
    await world.startGateway();
    world.site = await listen(https.createServer(world.#siteCertificate(), world.#site));
    world.loopback = await listen(http.createServer(world.#site));
    world.proxy = await startProxy((place) => world.#port(place));
    for (const name of ['alice', 'bob']) {
      const scopes = SCOPES.flatMap((scope) => ['--scope', scope]);
      await world.manage(['user', 'create', name, '--account', 'acct_1', ...scopes], PASSWORD);
    }
    return world;
  }

  get ca() {
    return path.join(this.folder, 'certs/ca.pem');
  }

  // Where a public app on this machine is called back.
  get loopbackCallback() {
    return `http://127.0.0.1:${port(this.loopback)}/callback`;
  }

  // Registers a client of the seed's kind; `more` are further arguments.
  client(name, more = []) {
    const isPublic = more.includes('--public');
    const redirect = isPublic ? LOOPBACK_CALLBACK : CALLBACK;
    const scopes = SCOPES.flatMap((scope) => ['--scope', scope]);
    const what = ['--name', name, '--redirect', redirect, ...scopes];
    return this.manage(['client', 'create', ...what, ...more]);
  }

  // Runs a management command; returns what it prints.
  async manage(parameters, input = '') {
    const { stdout } = await this.#run(['--format', 'json', ...parameters], input);
    return JSON.parse(stdout);
  }

  // Starts the gateway; `clock` is for libfaketime: `+11m` is eleven minutes ahead.
  async startGateway(clock) {
    const log = fs.createWriteStream(path.join(this.artefacts, 'gateway.log'), { flags: 'a' });
    this.gateway = spawn(this.binary, ['--config', 'gateway.yaml', 'serve'], {
      cwd: this.folder,
      env: clock ? { ...process.env, ...(await fakeTime(clock)) } : process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.gateway.stdout.pipe(log);
    const signal = AbortSignal.timeout(STARTED_WITHIN);
    const ended = once(this.gateway, 'exit', { signal }).then(() => {
      throw new Error(`the gateway did not start; see ${log.path}`);
    });
    const lines = createInterface({ input: this.gateway.stderr });
    const serving = new Promise((resolve) => {
      lines.on('line', (line) => {
        log.write(`${line}\n`);
        const told = line.startsWith('{') ? JSON.parse(line).fields : {};
        if (told.message === 'serving') resolve(new URL(`https://${told.https}`).port);
      });
    });
    // Also rejects when it ends much later, and then nobody waits for it any more.
    ended.catch(() => {});
    this.gatewayPort = await Promise.race([serving, ended]);
  }

  async stopGateway() {
    if (this.gateway?.exitCode !== null || this.gateway.signalCode !== null) return;
    const ended = once(this.gateway, 'exit');
    this.gateway.kill('SIGTERM');
    // It would wait for those that a browser keeps open.
    this.proxy?.cut();
    await ended;
  }

  // Has the web site of the app show a page.
  show(place, html) {
    this.pages.set(place, html);
    return new URL(place, CALLBACK).href;
  }

  // The environment in which requests and Node.js find the gateway and trust it.
  get environment() {
    // A proxy of the machine's own, which may be written in other ways, is not for here.
    const ours = Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name));
    return {
      ...Object.fromEntries(ours),
      HTTPS_PROXY: this.proxy.url,
      NO_PROXY: '127.0.0.1',
      REQUESTS_CA_BUNDLE: this.ca,
      NODE_EXTRA_CA_CERTS: this.ca,
    };
  }

  async stop() {
    await this.stopGateway();
    this.proxy?.close();
    for (const server of [this.site, this.loopback, this.upstream]) {
      server?.close();
      server?.closeAllConnections();
    }
  }

  #port(place) {
    const ports = {
      'osir.com:443': this.gatewayPort,
      'api.osir.com:443': this.gatewayPort,
      'yourapp.com:443': port(this.site),
    };
    return ports[place];
  }

  async #configure(root) {
    let text = fs.readFileSync(path.join(root, 'gateway.yaml'), 'utf8');
    const put = (pattern, by) => {
      if (!pattern.test(text)) throw new Error(`gateway.yaml has no ${pattern}`);
      text = text.replaceAll(new RegExp(pattern, 'gm'), by);
    };
    put(/^ {2}(https|http|metrics): [\d.]+:\d+$/m, '  $1: 127.0.0.1:0');
    put(/http:\/\/127\.0\.0\.1:91\d\d/, `http://127.0.0.1:${port(this.upstream)}`);
    fs.writeFileSync(path.join(this.folder, 'gateway.yaml'), text);
    const data = path.join(this.folder, 'data');
    fs.mkdirSync(data, { mode: 0o700 });
    const pepper = crypto.getRandomValues(Buffer.alloc(32)).toString('hex');
    fs.writeFileSync(path.join(data, 'pepper'), pepper, { mode: 0o600 });
    const hosts = ['--host', 'osir.com', '--host', 'api.osir.com'];
    await this.#run(['certs', ...hosts]);
    // The app's site has a certificate of the same CA and not the same certificate: a browser would
    // think that one connection serves both.
    const site = path.join(this.folder, 'site');
    fs.mkdirSync(site);
    for (const file of ['ca.pem', 'ca-key.pem']) {
      fs.copyFileSync(path.join(this.folder, 'certs', file), path.join(site, file));
    }
    await this.#run(['certs', '--host', 'yourapp.com', '--out', 'site']);
  }

  #siteCertificate() {
    const read = (file) => fs.readFileSync(path.join(this.folder, 'site', file));
    return { cert: read('gateway.pem'), key: read('gateway-key.pem') };
  }

  #site = (request, response) => {
    const { pathname } = new URL(request.url, CALLBACK);
    const found = pathname === '/callback' ? '<h1>You are back at your app</h1>' : null;
    const html = found ?? this.pages.get(pathname);
    response.writeHead(html === undefined ? 404 : 200, { 'content-type': 'text/html' });
    response.end(html && `<!doctype html><html lang="en"><title>Your app</title>${html}`);
  };

  #run(parameters, input = '') {
    return new Promise((resolve, reject) => {
      const options = { cwd: this.folder, timeout: 30_000 };
      const child = execFile(this.binary, parameters, options, (error, stdout, stderr) => {
        if (error) reject(new Error(`portcullis ${parameters.join(' ')}: ${stderr}`));
        else resolve({ stdout });
      });
      child.stdin.end(input);
    });
  }
}

// What the faketime command would set. Not that command itself: it would stand between us and the
// gateway, and end without it.
async function fakeTime(clock) {
  const { stdout } = await promisify(execFile)('faketime', ['-f', clock, 'printenv', 'LD_PRELOAD']);
  return { LD_PRELOAD: stdout.trim(), FAKETIME: clock };
}

// The upstream: what it received.
function echo(request, response) {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ path: request.url, headers: request.headers }));
}

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function port(server) {
  return server.address().port;
}
