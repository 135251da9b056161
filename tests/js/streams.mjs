// The plain WebSocket and an event stream, opened by a page with tickets.
//
//   node streams.mjs {url, alice, bob}
//
// Alice and Bob are {id, token}.
import { OURS, pageOf, run } from './browser.mjs'

await run(async (browser, { url, alice, bob }) => {
  const page = await pageOf(await browser.newContext(OURS), url)
  return page.evaluate(async ({ alice, bob }) => {
    const WS = `${location.origin.replace('http', 'ws')}/api/messenger/events/ws`
    const SSE = '/api/messenger/events'
    const ticket = async () => {
      const { status, body } = await request(bob.token, 'POST', '/api/messenger/events/ticket')
      if (status !== 201) throw new Error(`no ticket: ${JSON.stringify(body)}`)
      return body.ticket
    }
    // Whether they open: a browser says no more of a stream that is refused.
    const outcome = (what, stream) => within(what, new Promise((resolve) => {
      stream.onopen = () => resolve('open')
      stream.onerror = () => resolve(stream.readyState === stream.CLOSED ? 'refused' : 'tried again')
    }))

    const [ofSocket, ofStream] = [await ticket(), await ticket()]
    const fromSocket = inbox()
    const fromStream = inbox()
    const socket = new WebSocket(`${WS}?ticket=${ofSocket}`)
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data)
      fromSocket.put(frame.type ?? 'ack', frame)
    }
    const stream = new EventSource(`${SSE}?ticket=${ofStream}`)
    for (const event of ['message:received', 'feed:caught-up']) {
      stream.addEventListener(event, ({ data, lastEventId }) => fromStream.put(event, { data: JSON.parse(data), lastEventId }))
    }
    const opened = await Promise.all([outcome('WebSocket', socket), outcome('event stream', stream)])
    await Promise.all([fromSocket.next('feed:caught-up'), fromStream.next('feed:caught-up')])

    const body = { recipientId: bob.id, content: 'Hello, both of you!', type: 'text' }
    const sent = await request(alice.token, 'POST', '/api/messenger/messages', body)
    const received = {
      socket: await fromSocket.next('message:received'),
      stream: await fromStream.next('message:received'),
    }
    socket.send(JSON.stringify({ id: 1, emit: 'message:read', data: { messageId: sent.body.message.id } }))
    const ack = await fromSocket.next('ack')

    const again = {}
    for (const [name, used] of [['ofSocket', ofSocket], ['ofStream', ofStream], ['madeUp', 'nonsense']]) {
      again[name] = [
        await outcome('WebSocket', new WebSocket(`${WS}?ticket=${used}`)),
        await outcome('event stream', new EventSource(`${SSE}?ticket=${used}`)),
      ]
    }
    const answer = await fetch(`${SSE}?ticket=${ofStream}`)
    const refusal = { status: answer.status, body: await answer.json() }
    const stillOpen = [socket.readyState === WebSocket.OPEN, stream.readyState === EventSource.OPEN]
    return { opened, sent, received, ack, again, refusal, stillOpen }
  }, { alice, bob })
})
