// Chromium, driven by the end-to-end tests. What a script has found out it prints as one JSON object; when it prints none, it has
// failed, and says why on standard error.
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

// The official client, as web pages load it.
const CLIENT = fileURLToPath(new URL('node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url))

// How long to wait for something that is going to happen, in milliseconds.
const DEADLINE = 30_000

// Runs a script in a browser of its own, with the arguments that the test gives it.
export async function run(script, args = []) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    // Two pages on one machine meet by its own addresses, which web pages aren't told otherwise.
    args: ['--no-sandbox', '--disable-features=WebRtcHideLocalIpsWithMdns', '--allow-loopback-in-peer-connection', ...args],
  })
  try {
    const found = await script(browser, JSON.parse(process.argv[2]))
    process.stdout.write(JSON.stringify(found) + '\n')
  } finally {
    await browser.close()
  }
}

// For pages that stand for those of an application: they run what they are given here, which the server's own answers may not.
export const OURS = { bypassCSP: true }

// A page of the server's own. Not one that is made up here: to the browser, such a page would come from the internet, and may not
// talk to this machine.
export async function pageOf(context, url) {
  const page = await context.newPage()
  page.setDefaultTimeout(DEADLINE)
  page.on('pageerror', (error) => {
    process.stderr.write(`an error in a page: ${error.name}: ${error.message}\n`)
    process.exitCode = 1
  })
  await page.goto(`${url}/healthz`)
  await page.evaluate(helpers, DEADLINE)
  return page
}

// Connects a page as somebody, with the official client and all of its defaults.
export async function connect(page, token) {
  await page.addScriptTag({ path: CLIENT })
  await page.evaluate(async (token) => {
    window.socket = io({ auth: { token } })
    window.heard = inbox()
    socket.onAny((event, data) => heard.put(event, data))
    await within('the connection', new Promise((resolve, reject) => {
      socket.on('connect', resolve)
      socket.on('connect_error', reject)
    }))
  }, token)
}

// What pages work with.
function helpers(deadline) {
  // A promise that fails when it takes too long, and says what was waited for.
  window.within = (what, promise) =>
    Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what}`)), deadline))])

  // What has come in and nobody has taken yet.
  window.inbox = () => {
    const kept = []
    const takers = []
    return {
      put(event, data) {
        const taker = takers.findIndex((taker) => taker.event === event)
        if (taker < 0) kept.push({ event, data })
        else takers.splice(taker, 1)[0].take(data)
      },
      // The next event of a name, in the order in which they came.
      next(event) {
        const at = kept.findIndex((one) => one.event === event)
        if (at >= 0) return Promise.resolve(kept.splice(at, 1)[0].data)
        return within(event, new Promise((take) => takers.push({ event, take })))
      },
    }
  }

  // A request to the server: the status of the answer, and its body.
  window.request = async (token, method, path, body) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) })
    return { status: answer.status, body: await answer.json() }
  }
}
