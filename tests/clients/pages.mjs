// Login and consent in a real browser. Each function below is one scenario; docs/seed-coverage.md
// names them.

import fs from 'node:fs';
import path from 'node:path';
import axe from 'axe-core';
import { DESKTOP, PHONE, User, arrival, decide, launch, logIn } from './browser.mjs';
import { check, scenario } from './report.mjs';
import { CALLBACK, ISSUER, PASSWORD, SCOPES } from './world.mjs';

const LIMIT = 60_000;
const ORIGINS = [ISSUER, new URL(CALLBACK).origin];
const WORDS = [
  'View domains',
  'Manage domains',
  'View servers',
  'Manage servers',
  'View email settings',
  'Manage email',
  'View billing info',
  'Manage billing',
];
// WCAG 2.5.5 asks for 44 CSS pixels.
const TOUCH_TARGET = 44;

export async function runPages(world, browser, artefacts) {
  const stage = await Stage.set(world, browser, artefacts);
  const scenarios = [
    browserRefusesAnUnknownCa,
    yesLeadsToTheAppOnAnotherOrigin,
    withoutTheRedirectsOriginThePolicyBlocksIt,
    phoneWithoutScript,
    everyPagePassesAxe,
    nothingIsWiderThanAPhone,
    denied,
    wrongPasswordThenRight,
    backButton,
    doubleClick,
    twoTabs,
    unknownClientAndRedirect,
    pagesCannotBeFramed,
    formsOfOtherSitesAreRefused,
    expired,
  ];
  for (const run of scenarios) {
    const name = run.name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    const named = (what, ...rest) => check(`${name}: ${what}`, ...rest);
    await scenario(name, LIMIT, () => run(stage, named));
    await stage.clear();
  }
}

// What the scenarios share: a client of an app, and what its users did.
class Stage {
  static async set(world, browser, artefacts) {
    const stage = new Stage();
    Object.assign(stage, { world, browser, artefacts, users: [] });
    stage.client = await world.client('Domain Watch', ['--consent', 'always']);
    return stage;
  }

  // The request of the seed, for all scopes.
  request(state = 's', more = {}) {
    const url = new URL('/oauth/authorize', ISSUER);
    url.search = new URLSearchParams({
      client_id: this.client.client_id,
      redirect_uri: CALLBACK,
      response_type: 'code',
      scope: SCOPES.join(' '),
      state,
      ...more,
    });
    return url.href;
  }

  async user(options) {
    const user = await User.sitDown(this.browser, options);
    this.users.push(user);
    return user;
  }

  // Keeps a picture of a page for people to look at.
  shot(page, name) {
    return page.screenshot({ path: path.join(this.artefacts, `${name}.png`), fullPage: true });
  }

  // The status that the token endpoint answers a code with.
  async redeem(code) {
    const form = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: CALLBACK,
      client_id: this.client.client_id,
      client_secret: this.client.client_secret,
    });
    const answer = await fetch('https://api.osir.com/oauth/token', { method: 'POST', body: form });
    return answer.status;
  }

  async clear() {
    this.world.proxy.release();
    for (const user of this.users.splice(0)) await user.leave();
  }
}

const heading = (page) => page.getByRole('heading', { level: 1 }).innerText();

// Checks the heading of a page.
async function says(page, check, what, expected) {
  const text = await heading(page);
  check(what, text === expected, text);
}

async function browserRefusesAnUnknownCa({ world }, check) {
  const home = fs.mkdtempSync(path.join(world.folder, 'stranger-'));
  const stranger = await launch(home, world.proxy);
  try {
    const page = await stranger.newPage();
    const error = await page.goto(ISSUER).catch((refused) => refused);
    check('without the CA', `${error}`.includes('ERR_CERT_AUTHORITY_INVALID'), `${error}`);
  } finally {
    await stranger.close();
  }
}

async function yesLeadsToTheAppOnAnotherOrigin(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request('a state + &'));
  await says(page, check, 'login', 'Log in to osir');
  await stage.shot(page, 'login-desktop');
  await logIn(page, 'alice', PASSWORD);
  await says(page, check, 'consent', 'Allow Domain Watch?');
  await stage.shot(page, 'consent-desktop');
  const text = await page.locator('main').innerText();
  const missing = [...WORDS, ...SCOPES, 'yourapp.com'].filter((word) => !text.includes(word));
  check('names the app and every scope in words', missing.length === 0, missing.join(', '));
  check('no script', (await page.locator('script').count()) === 0);
  const { code, state, iss } = await decide(page, 'Allow');
  await says(page, check, 'arrives at the app', 'You are back at your app');
  check('brings the state', state === 'a state + &', state);
  check('brings the issuer', iss === ISSUER, iss);
  check('brings a code', (await stage.redeem(code)) === 200);
  check('no complaint of the browser', user.complaints.length === 0, user.complaints.join());
  const strange = user.requests.filter((request) => {
    const { origin } = new URL(request.url());
    const isPage = request.resourceType() === 'document' && ORIGINS.includes(origin);
    // The browser looks for an icon by itself, and only on the app's site: our pages forbid it.
    return !isPage && request.url() !== `${ORIGINS[1]}/favicon.ico`;
  });
  const urls = strange.map((request) => request.url());
  check('nothing else was asked for', urls.length === 0, urls.join());
}

// Without this one, the scenario before proves nothing: it is Chromium that has to care.
async function withoutTheRedirectsOriginThePolicyBlocksIt(stage, check) {
  const user = await stage.user();
  const page = await user.context.newPage();
  const devtools = await user.context.newCDPSession(page);
  const patterns = [{ urlPattern: '*/oauth/interaction/*', requestStage: 'Response' }];
  await devtools.send('Fetch.enable', { patterns });
  const narrow = async ({ requestId, responseHeaders, responseStatusCode }) => {
    if (responseStatusCode !== 200) return devtools.send('Fetch.continueResponse', { requestId });
    for (const header of responseHeaders) {
      header.value = header.value.replace(/form-action 'self' [^;]*/, "form-action 'self'");
    }
    const { body } = await devtools.send('Fetch.getResponseBody', { requestId });
    const response = { requestId, responseCode: 200, responseHeaders, body };
    return devtools.send('Fetch.fulfillRequest', response);
  };
  // What fails here fails below: the browser does not get its page.
  devtools.on('Fetch.requestPaused', (paused) => narrow(paused).catch(() => {}));
  await page.goto(stage.request());
  await logIn(page, 'alice', PASSWORD);
  const complaint = page.waitForEvent('console', (message) => message.type() === 'error');
  await page.getByRole('button', { name: 'Allow' }).click();
  const text = (await complaint).text();
  check('the browser says why', text.includes("form-action 'self'"), text);
  check('the app is not reached', new URL(page.url()).origin === ISSUER, page.url());
}

async function phoneWithoutScript(stage, check) {
  const user = await stage.user({ ...PHONE, javaScriptEnabled: false });
  const page = await user.open(stage.request());
  await stage.shot(page, 'login-phone');
  await page.getByLabel('Name').fill('alice');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).tap();
  await page.getByRole('heading', { name: 'Allow Domain Watch?' }).waitFor();
  await stage.shot(page, 'consent-phone');
  await page.getByRole('button', { name: 'Allow' }).tap();
  const { code } = await arrival(page);
  check('gives a code', (await stage.redeem(code)) === 200);
}

// The pages one after another, as a user comes through them: login, failed login, consent, notice.
async function throughThePages(stage, options, look) {
  const user = await stage.user(options);
  const page = await user.open(stage.request());
  await look(page, 'login');
  await logIn(page, 'alice', 'wrong');
  await look(page, 'failed login');
  await logIn(page, 'alice', PASSWORD);
  await look(page, 'consent');
  const place = page.url();
  await decide(page, 'Deny');
  await page.goto(place);
  await look(page, 'notice');
}

async function everyPagePassesAxe(stage, check) {
  for (const colorScheme of ['light', 'dark']) {
    await throughThePages(stage, { ...DESKTOP, colorScheme }, async (page, name) => {
      await page.evaluate(axe.source);
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
      const isClean = found.length === 0 && passes.length > 0;
      if (colorScheme === 'dark') await stage.shot(page, `${name.replace(' ', '-')}-dark`);
      check(`${name}, ${colorScheme}`, isClean, found.join('; '));
    });
  }
}

async function nothingIsWiderThanAPhone(stage, check) {
  // WCAG 1.4.10: down to 320 CSS pixels.
  for (const width of [390, 320]) {
    const viewport = { width, height: 844 };
    await throughThePages(stage, { ...PHONE, viewport }, async (page, name) => {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      check(`${name}, ${width} px`, wide <= width, `${wide} px`);
      if (name === 'failed login') await stage.shot(page, `login-failed-phone-${width}`);
      for (const target of await page.locator('button, input:not([type=hidden])').all()) {
        const { height } = await target.boundingBox();
        const label = await target.evaluate((element) => element.id || element.innerText);
        check(`${name}, ${width} px: ${label} can be hit`, height >= TOUCH_TARGET, `${height} px`);
      }
    });
  }
}

async function denied(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request('no'));
  // Nobody has to log in for that.
  const answer = await decide(page, 'Deny');
  const expected = { error: 'access_denied', state: 'no', iss: ISSUER };
  const [told, wanted] = [answer, expected].map((value) => JSON.stringify(value));
  check('tells the app', told === wanted, told);
  const again = await user.open(stage.request('no again'));
  await logIn(again, 'alice', PASSWORD);
  const { error } = await decide(again, 'Deny');
  check('tells the app after a login too', error === 'access_denied', error);
}

async function wrongPasswordThenRight(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request());
  await logIn(page, 'bob', 'not the password');
  const alert = await page.getByRole('alert').innerText();
  check('says so', alert === 'The name or the password is wrong.', alert);
  const id = await page.getByRole('alert').getAttribute('id');
  const described = page.locator(`[aria-describedby=${id}]`);
  check('says so at both fields', (await described.count()) === 2);
  await stage.shot(page, 'login-failed-desktop');
  const password = await page.getByLabel('Password').inputValue();
  check('shows no password again', password === '');
  await logIn(page, 'bob', PASSWORD);
  const { code } = await decide(page, 'Allow');
  check('gives a code', (await stage.redeem(code)) === 200);
}

async function backButton(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request());
  await logIn(page, 'alice', PASSWORD);
  // Not `load`: pages that come from memory have loaded before.
  await page.goBack({ waitUntil: 'commit' });
  await says(page, check, 'a login is not asked for again', 'Allow Domain Watch?');
  await page.goForward({ waitUntil: 'commit' });
  const { code } = await decide(page, 'Allow');
  await page.goBack({ waitUntil: 'commit' });
  await says(page, check, 'a clear page', 'You have answered this already');
  check('nothing to press', (await page.getByRole('button').count()) === 0);
  await stage.shot(page, 'notice-desktop');
  await page.goForward({ waitUntil: 'commit' });
  check('forward is the app again', new URL(page.url()).searchParams.get('code') === code);
  check('the code is good', (await stage.redeem(code)) === 200);

  // Where nobody is asked, the page before the app is the login.
  const trusted = await stage.world.client('Of the house', ['--consent', 'never']);
  const other = await user.open(stage.request('s', { client_id: trusted.client_id }));
  await logIn(other, 'alice', PASSWORD);
  await arrival(other);
  await other.goBack({ waitUntil: 'commit' });
  await says(other, check, 'nor after a login alone', 'You have answered this already');
}

async function doubleClick(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request());
  await logIn(page, 'alice', PASSWORD);
  // On a slow network: the second click comes when the first form has been sent, and answered, but
  // the answer is not here yet.
  stage.world.proxy.hold();
  const box = await page.getByRole('button', { name: 'Allow' }).boundingBox();
  const sent = () => user.requests.filter((request) => request.url().endsWith('/decision')).length;
  for (const times of [1, 2]) {
    const click = page.waitForRequest((request) => request.url().endsWith('/decision'));
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await click;
    check(`form sent ${times} times`, sent() === times, `${sent()}`);
  }
  stage.world.proxy.release();
  const { code } = await arrival(page);
  check('gives a code', (await stage.redeem(code)) === 200);
}

async function twoTabs(stage, check) {
  const user = await stage.user();
  const first = await user.open(stage.request('first'));
  const second = await user.open(stage.request('second'));
  await logIn(first, 'alice', PASSWORD);
  await logIn(second, 'bob', PASSWORD);
  const ofSecond = await decide(second, 'Allow');
  const ofFirst = await decide(first, 'Allow');
  check('each has its own answer', ofFirst.state === 'first' && ofSecond.state === 'second');
  const statuses = [await stage.redeem(ofFirst.code), await stage.redeem(ofSecond.code)];
  check('each has its own code', statuses.join() === '200,200', statuses.join());
  const apps = await Promise.all(
    ['alice', 'bob'].map((name) => stage.world.manage(['user', 'apps', name])),
  );
  const ours = apps.map((list) => list.some((app) => app.client_id === stage.client.client_id));
  check('each is its own user', ours.join() === 'true,true', ours.join());
}

async function unknownClientAndRedirect(stage, check) {
  const user = await stage.user();
  const strange = { client_id: 'client_of_nobody' };
  const page = await user.open(stage.request('s', strange));
  await says(page, check, 'client', 'This app is not known here');
  await stage.shot(page, 'error-desktop');
  const elsewhere = { redirect_uri: 'https://yourapp.com/elsewhere' };
  const other = await user.open(stage.request('s', elsewhere));
  await says(other, check, 'redirect', 'This app is set up wrongly');
  const phone = await stage.user(PHONE);
  await stage.shot(await phone.open(stage.request('s', strange)), 'error-phone');
}

async function pagesCannotBeFramed(stage, check) {
  const user = await stage.user();
  const page = await user.open(stage.request());
  await logIn(page, 'alice', PASSWORD);
  const trap = stage.world.show('/trap', `<h1>Win!</h1><iframe src="${page.url()}"></iframe>`);
  const other = await user.open(trap);
  const [, frame] = other.frames();
  await frame.waitForLoadState();
  check('a consent page', frame.url() === 'chrome-error://chromewebdata/', frame.url());
  const complaints = user.complaints.join();
  check('the browser says why', complaints.includes('frame-ancestors'), complaints);
}

// Another site has the user's browser send the consent form, with the token of the attacker's own.
async function formsOfOtherSitesAreRefused(stage, check) {
  const attacker = await stage.user();
  const own = await attacker.open(stage.request());
  await logIn(own, 'bob', PASSWORD);
  const token = await own.locator('input[name=token]').first().inputValue();
  const victim = await stage.user();
  const page = await victim.open(stage.request());
  await logIn(page, 'alice', PASSWORD);
  for (const [whose, place] of [['own', own.url()], ["the victim's", page.url()]]) {
    const form = `<form method="post" action="${place}/decision">
      <input name="token" value="${token}"><button name="decision" value="allow">Win!</button>
      </form>`;
    const trap = await victim.open(stage.world.show('/forgery', form));
    const answer = trap.waitForResponse((response) => response.url().endsWith('/decision'));
    await trap.getByRole('button').click();
    const status = (await answer).status();
    check(`for the attacker's request: ${whose}`, status === 400 || status === 403, `${status}`);
  }
  await page.reload();
  await says(page, check, 'nothing is decided', 'Allow Domain Watch?');
}

// Last, because the gateway goes on in the future after it.
async function expired(stage, check) {
  const user = await stage.user();
  const login = await user.open(stage.request());
  const consent = await user.open(stage.request());
  await logIn(consent, 'alice', PASSWORD);
  await stage.world.stopGateway();
  await stage.world.startGateway('+11m');
  await logIn(login, 'alice', PASSWORD);
  const shown = [await heading(login)];
  await consent.getByRole('button', { name: 'Allow' }).click();
  await consent.getByRole('heading', { name: 'expired' }).waitFor();
  shown.push(await heading(consent));
  const expected = 'This request has expired';
  check('a clear page', shown.every((text) => text === expected), shown.join());
  await stage.shot(login, 'expired-desktop');
}
