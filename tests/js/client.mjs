// The official Socket.IO client, driven by the end-to-end tests: one JSON object a line, in both directions.
//
//   node client.mjs URL OPTIONS
//
// OPTIONS are the client's own, as JSON. Out go {event, args} for everything that is received, the connection's own `connect`,
// `connect_error` with its message, `connect_error:data` with its data, and `disconnect` among it, and {ack, args}. In come {emit, args} and, for an acknowledgement, {emit, args, ack}.
import { createInterface } from 'node:readline'
import { io } from 'socket.io-client'

const [url, options] = process.argv.slice(2)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const socket = io(url, JSON.parse(options))
socket.on('connect', () => say({ event: 'connect', args: [socket.io.engine.transport.name] }))
socket.on('connect_error', (error) => {
  say({ event: 'connect_error', args: [error.message] })
  say({ event: 'connect_error:data', args: [error.data ?? null] })
})
socket.on('disconnect', (reason) => say({ event: 'disconnect', args: [reason] }))
socket.io.engine?.on('upgrade', (transport) => say({ event: 'upgrade', args: [transport.name] }))
socket.onAny((event, ...args) => say({ event, args }))

for await (const line of createInterface({ input: process.stdin })) {
  const { emit, args, ack } = JSON.parse(line)
  if (ack === undefined) socket.emit(emit, ...args)
  else socket.emit(emit, ...args, (...answer) => say({ ack, args: answer }))
}
socket.disconnect()
