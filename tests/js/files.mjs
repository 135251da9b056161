// Files that somebody has uploaded, in a browser: whatever is in them, nothing of it runs.
//
//   node files.mjs {url, token, files: [{name, url}], pictures: [url], names}
//
// Pages send no token by themselves; here each request for a file gets one, as if an application handed files out by cookies.
import { pageOf, run } from './browser.mjs'

await run(async (browser, { url, token, script, files, picture, names }) => {
  const context = await browser.newContext({ acceptDownloads: true })
  // A page of an application is bound by no policy of the server's.
  await context.route('**/healthz', async (route) => {
    const response = await route.fetch()
    const { 'content-security-policy': _, ...headers } = response.headers()
    return route.fulfill({ response, headers })
  })
  const page = await pageOf(context, url)
  const authorization = `Bearer ${token}`
  // Scripts in files say so by asking for this.
  let ran = []
  await context.route('**/ran/**', (route) => {
    ran.push(new URL(route.request().url()).pathname)
    return route.fulfill({ status: 204 })
  })
  // What has run by now has asked by then.
  const whatRan = async () => {
    await page.evaluate(() => fetch('/ran/marker'))
    const all = ran.filter((path) => path !== '/ran/marker')
    ran = []
    return all
  }
  const found = { navigated: {}, inline: {}, embedded: {} }

  // Without what keeps it from running, the same content does run: or else the test sees nothing.
  await context.route('**/control/*', (route) => {
    const contentType = route.request().url().endsWith('svg') ? 'image/svg+xml' : 'text/html'
    return route.fulfill({ contentType, body: script[contentType] })
  })
  found.control = []
  for (const kind of ['html', 'svg']) {
    const tab = await context.newPage()
    await tab.goto(`${url}/control/${kind}`)
    await tab.waitForFunction(() => document.documentElement.hasAttribute('data-ran'))
    await tab.close()
    found.control.push(...(await whatRan()))
  }

  await context.route('**/api/messenger/files/**', (route) =>
    route.continue({ headers: { ...route.request().headers(), authorization } }))
  for (const file of files) {
    const tab = await context.newPage()
    const downloading = tab.waitForEvent('download')
    // Going to what is saved instead of shown fails.
    const shown = await tab.goto(url + file.url).then(() => true, () => false)
    const download = await downloading
    found.navigated[file.name] = { shown, suggested: download.suggestedFilename(), ran: await whatRan() }
    await tab.close()
  }

  // Even if somebody on the way took `Content-Disposition` away.
  await context.unroute('**/api/messenger/files/**')
  await context.route('**/api/messenger/files/**', async (route) => {
    const response = await route.fetch({ headers: { ...route.request().headers(), authorization } })
    const { 'content-disposition': _, ...headers } = response.headers()
    return route.fulfill({ response, headers })
  })
  for (const file of files) {
    const tab = await context.newPage()
    await tab.goto(url + file.url)
    const origin = await tab.evaluate(() => self.origin)
    found.inline[file.name] = { origin, ran: await whatRan() }
    await tab.close()
  }

  for (const withDisposition of [true, false]) {
    if (withDisposition) {
      await context.unroute('**/api/messenger/files/**')
      await context.route('**/api/messenger/files/**', (route) =>
        route.continue({ headers: { ...route.request().headers(), authorization } }))
    }
    for (const file of files) {
      for (const tag of ['iframe', 'img', 'object', 'embed']) {
        // Not what the browser has kept.
        const address = `${file.url}?in=${tag}&with=${withDisposition}`
        const answered = page.waitForResponse(url + address)
        const saved = page.waitForEvent('download').catch(() => {})
        await page.evaluate(({ tag, address }) => {
          const element = document.createElement(tag)
          element[tag === 'object' ? 'data' : 'src'] = address
          window.settled = new Promise((settled) => {
            for (const event of ['load', 'error']) element.addEventListener(event, settled)
          })
          document.body.append(element)
        }, { tag, address })
        await answered
        // It is shown, or not, or saved: what runs has begun to by then.
        await Promise.race([page.evaluate(() => settled).catch(() => {}), saved])
        found.embedded[`${file.name} <${tag}>${withDisposition ? '' : ' inline'}`] = await whatRan()
        await page.evaluate((tag) => document.querySelector(tag).remove(), tag)
      }
    }
  }

  // And pictures are still to be seen.
  found.picture = await page.evaluate(async (picture) => {
    const image = new Image()
    image.src = picture
    await image.decode()
    return [image.naturalWidth, image.naturalHeight]
  }, picture)

  // What browsers make of names when they upload, and of ours when they save.
  await context.unroute('**/api/messenger/files/**')
  found.names = await page.evaluate(async ({ names, authorization }) => {
    const called = []
    for (const name of names) {
      const body = new FormData()
      body.append('file', new File(['hello'], name, { type: 'text/plain' }))
      const answer = await fetch('/api/messenger/files', { method: 'POST', headers: { authorization }, body })
      called.push((await answer.json()).file)
    }
    return called
  }, { names, authorization })
  await context.route('**/api/messenger/files/**', (route) =>
    route.continue({ headers: { ...route.request().headers(), authorization } }))
  found.saved = []
  for (const file of found.names) {
    const tab = await context.newPage()
    const downloading = tab.waitForEvent('download')
    await tab.goto(url + file.url).catch(() => {})
    found.saved.push((await downloading).suggestedFilename())
    await tab.close()
  }
  return found
}, ['--disable-features=LocalNetworkAccessChecks'])
