// A call between two browsers, from ringing to hanging up.
//
//   node call.mjs {url, alice, bob, iceTransportPolicy}
//
// Alice and Bob are {id, token}.
import { connect, OURS, pageOf, run } from './browser.mjs'

await run(async (browser, { url, alice, bob, iceTransportPolicy }) => {
  const alicesContext = await browser.newContext(OURS)
  const bobsContext = await browser.newContext(OURS)
  const alicesTab = await pageOf(alicesContext, url)
  const bobsTabs = [await pageOf(bobsContext, url), await pageOf(bobsContext, url)]
  await connect(alicesTab, alice.token)
  for (const tab of bobsTabs) await connect(tab, bob.token)
  const tabs = [alicesTab, ...bobsTabs]
  const [answering, other] = bobsTabs

  const next = (tab, event) => tab.evaluate((event) => heard.next(event), event)
  const emit = (tab, event, data) =>
    tab.evaluate(([event, data]) => within(`acknowledgement of ${event}`, socket.emitWithAck(event, data)), [event, data])
  const request = (tab, person, ...rest) =>
    tab.evaluate(([token, ...rest]) => request(token, ...rest), [person.token, ...rest])

  const started = await request(alicesTab, alice, 'POST', '/api/messenger/calls', { recipientId: bob.id, callType: 'video' })
  const callId = started.body.call?.id
  const rings = await Promise.all(bobsTabs.map((tab) => next(tab, 'call:incoming')))

  const accepted = await emit(answering, 'call:accept', { callId })
  // The other tab stops ringing since it is told.
  const stopped = await next(other, 'call:accepted')
  const toldToAlice = await next(alicesTab, 'call:accepted')

  // Each asks the server how to find the other, and then they tell each other through it.
  const iceServers = {}
  for (const [name, tab, person] of [['alice', alicesTab, alice], ['bob', answering, bob]]) {
    const answer = await request(tab, person, 'GET', '/api/messenger/ice-servers')
    iceServers[name] = answer.body
    await tab.evaluate(prepare, { callId, configuration: { iceServers: answer.body.iceServers, iceTransportPolicy } })
  }
  await alicesTab.evaluate(() => offer())
  const channels = await Promise.all([alicesTab, answering].map((tab) => tab.evaluate(() => opened())))
  await alicesTab.evaluate(() => channel.send('Hello Bob, from Alice'))
  const heardByBob = await answering.evaluate(() => texts.next('text'))
  await answering.evaluate(() => channel.send('Hello Alice, from Bob'))
  const heardByAlice = await alicesTab.evaluate(() => texts.next('text'))
  const candidateTypes = await alicesTab.evaluate(() => candidateTypes())
  const refusedSignals = await Promise.all([alicesTab, answering].map((tab) => tab.evaluate(() => refused)))

  const ended = await emit(alicesTab, 'call:end', { callId })
  const toldToEnd = await Promise.all(tabs.map((tab) => next(tab, 'call:ended')))
  const transports = await Promise.all(tabs.map((tab) => tab.evaluate(() => socket.io.engine.transport.name)))
  return {
    callId, started, rings, accepted, stopped, toldToAlice, iceServers, channels, heardByBob, heardByAlice, candidateTypes,
    refusedSignals: refusedSignals.flat(), ended, toldToEnd, transports,
  }
})

// Gets a page ready for its side of a call.
function prepare({ callId, configuration }) {
  const connection = new RTCPeerConnection(configuration)
  const opening = new Promise((resolve) => {
    const use = (channel) => {
      window.channel = channel
      window.texts = inbox()
      channel.onmessage = ({ data }) => texts.put('text', data)
      channel.onopen = () => resolve(channel.readyState)
    }
    connection.ondatachannel = ({ channel }) => use(channel)
    window.offer = async () => {
      use(connection.createDataChannel('texts'))
      await connection.setLocalDescription()
      signal('offer', connection.localDescription)
    }
  })
  window.opened = () => within('open channel', opening)

  window.refused = []
  const signal = async (kind, payload) => {
    // As the other side will get it: objects of the browser don't travel.
    const ack = await socket.emitWithAck('call:signal', { callId, kind, payload: payload.toJSON() })
    if (!ack.success) refused.push(ack)
  }
  connection.onicecandidate = ({ candidate }) => candidate && signal('candidate', candidate)

  // A candidate is of no use before the description that it belongs to; one that comes before it is kept.
  let early = []
  const handle = async ({ callId: about, kind, payload }) => {
    if (about !== callId) throw new Error(`a signal of another call: ${about}`)
    if (kind === 'candidate') {
      if (early) early.push(payload)
      else await connection.addIceCandidate(payload)
      return
    }
    await connection.setRemoteDescription(payload)
    for (const candidate of early) connection.addIceCandidate(candidate)
    early = undefined
    if (kind === 'offer') {
      await connection.setLocalDescription()
      signal('answer', connection.localDescription)
    }
  }
  socket.on('call:signal', handle)

  // By which kind of way the two have found each other.
  window.candidateTypes = async () => {
    const stats = [...(await connection.getStats()).values()]
    const transport = stats.find((one) => one.type === 'transport')
    const pair = stats.find((one) => one.id === transport.selectedCandidatePairId)
    return [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.find((one) => one.id === id).candidateType)
  }
}
