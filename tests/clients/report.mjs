// The lines that a run prints: one a check, and how many there were.

let passed = 0;
let failed = 0;

// Prints a check. `detail` says what was there instead.
export function check(name, holds, detail = '') {
  if (holds) {
    passed += 1;
    console.log(`ok      ${name}`);
  } else {
    failed += 1;
    console.log(`FAILED  ${name}${detail === '' ? '' : `: ${detail}`}`);
  }
}

// Which scenarios are wanted: those with this in their name.
let wanted = '';
export function want(text) {
  wanted = text;
}

// Runs what makes checks. An error, or no end within the time, is a failed check.
export async function scenario(name, milliseconds, run) {
  if (!name.includes(wanted)) return;
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`no end after ${milliseconds} ms`);
    timer = setTimeout(reject, milliseconds, error);
  });
  try {
    await Promise.race([run(), late]);
  } catch (error) {
    check(name, false, error.stack ?? error);
  } finally {
    clearTimeout(timer);
  }
}

// The closing line; whether all is well.
export function close() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}
