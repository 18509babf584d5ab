// Client libraries and a browser against a running gateway: scripts/test-clients installs what this
// needs, and starts it as `node run.mjs REPOSITORY PORTCULLIS PYTHON [PART OF A NAME]`.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ProxyAgent, setGlobalDispatcher } from 'undici';
import { runApps } from './apps.mjs';
import { launch } from './browser.mjs';
import { runPages } from './pages.mjs';
import { check, close, want } from './report.mjs';
import { World } from './world.mjs';

const [root, binary, python] = process.argv.slice(2, 5).map((file) => path.resolve(file));
const here = import.meta.dirname;
const artefacts = process.env.CI_ARTEFACTS ?? path.join(os.tmpdir(), 'portcullis-clients');
fs.mkdirSync(artefacts, { recursive: true });
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portcullis-'));
const home = path.join(folder, 'home');

want(process.argv[5] ?? '');
let world;
let browser;
const stop = async () => {
  await browser?.close();
  await world?.stop();
  fs.rmSync(folder, { recursive: true, force: true });
};
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
process.once('exit', () => world?.gateway?.kill('SIGKILL'));

try {
  world = await World.start({ root, binary, folder, artefacts });
  const requestTls = { ca: fs.readFileSync(world.ca) };
  setGlobalDispatcher(new ProxyAgent({ uri: world.proxy.url, requestTls }));
  browser = await launch(home, world.proxy, world.ca);
  await runApps(world, browser, { here, python });
  await runPages(world, browser, artefacts);
} catch (error) {
  check('the run', false, error.stack ?? error);
} finally {
  await stop();
}
console.log(`pictures and logs: ${artefacts}`);
process.exitCode = close() ? 0 : 1;
