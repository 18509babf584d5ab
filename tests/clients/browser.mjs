// Debian's Chromium with the CA of the tests, and a user who sits before it.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';

const run = promisify(execFile);

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

// Starts Chromium in a home folder of its own, which trusts `ca`, or where there is none, only the
// public CAs.
export async function launch(home, proxy, ca) {
  const store = path.join(home, '.pki/nssdb');
  fs.mkdirSync(store, { recursive: true });
  const certutil = (...parameters) => run('certutil', ['-d', `sql:${store}`, ...parameters]);
  await certutil('-N', '--empty-password');
  if (ca) await certutil('-A', '-n', 'portcullis', '-t', 'C,,', '-i', ca);
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    env: { ...process.env, HOME: home, XDG_DATA_HOME: path.join(home, 'data') },
    // With the memory for its back button that people's browsers have.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    // Root has no other choice; everyone else keeps the sandbox.
    chromiumSandbox: process.getuid() !== 0,
    // An argument, not an option: with that one, loopback addresses would take the proxy too.
    args: [`--proxy-server=${proxy.url}`, '--disable-quic'],
  });
}

// A browser profile, and what was asked for and complained of in it.
export class User {
  static async sitDown(browser, options = DESKTOP) {
    const user = new User();
    user.context = await browser.newContext(options);
    user.requests = [];
    user.complaints = [];
    user.context.on('request', (request) => user.requests.push(request));
    user.context.on('console', (message) => {
      // What Chromium says of a status that is no 200 is no complaint about the page.
      const text = message.text();
      if (message.type() === 'error' && !text.startsWith('Failed to load resource')) {
        user.complaints.push(text);
      }
    });
    return user;
  }

  async open(url) {
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  leave() {
    return this.context.close();
  }
}

// Logs in on a login page, as somebody who has only a keyboard.
export async function logIn(page, name, password) {
  await page.getByLabel('Name').focus();
  await page.keyboard.type(name);
  await page.keyboard.press('Tab');
  await page.keyboard.type(password);
  const loaded = page.waitForEvent('load');
  await page.keyboard.press('Enter');
  await loaded;
}

// Presses Allow or Deny; returns where the browser is then.
export async function decide(page, word) {
  await page.getByRole('button', { name: word }).click();
  return arrival(page);
}

// Waits until the browser is back at an app; returns the parameters that it brings.
export async function arrival(page) {
  await page.waitForURL((url) => url.pathname === '/callback');
  return Object.fromEntries(new URL(page.url()).searchParams);
}
