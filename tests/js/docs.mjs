// The explorer of the API, in a browser.
//
//   node docs.mjs {url}
//
// Opened by a name that isn't this machine's, since the explorer does without some of its requests at localhost.
import { run } from './browser.mjs'

const NAME = 'switchboard.example'

await run(async (browser, { url }) => {
  const page = await browser.newPage()
  const origin = url.replace('127.0.0.1', NAME)
  const requests = []
  const errors = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('console', (message) => {
    const { url } = message.location()
    // Browsers ask for an icon by themselves.
    if (message.type() === 'error' && !url.endsWith('/favicon.ico')) errors.push(`${message.text()} ${url}`)
  })
  await page.goto(`${origin}/docs`, { waitUntil: 'networkidle' })
  await page.locator('.opblock').first().waitFor()
  // One of them is opened, as a reader would: its parameters and answers are shown.
  await page.locator('#operations-Messenger\\:_messages-sendMessage, .opblock:has-text("/api/messenger/messages")').first().click()
  await page.locator('.opblock.is-open .responses-table').first().waitFor()
  return {
    title: await page.title(),
    operations: await page.locator('.opblock').evaluateAll((blocks) =>
      blocks.map((block) => {
        const text = (part) => block.querySelector(part).textContent.replaceAll('\u200b', '').trim()
        return `${text('.opblock-summary-method').toLowerCase()} ${text('.opblock-summary-path')}`
      })),
    // What is in the page already makes no request.
    foreign: requests.filter((one) => !/^(data|blob):/.test(one) && new URL(one).origin !== origin),
    requests: requests.length,
    errors,
  }
}, [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`])
