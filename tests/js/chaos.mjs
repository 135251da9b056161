// Many official Socket.IO clients in one process, each of which goes on from where it was whenever its connection breaks.
//
//   node chaos.mjs
//
// In comes one line of JSON: an array of {url, transports, token, since}. Out goes one for everything that has a position:
// [index of the client, event, data]; and [index, "connect", {position}] whenever a client connects, with where it goes on from.
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { io } from 'socket.io-client'

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const open = ({ url, transports, token, since }, index) => {
  let cursor = since
  const socket = io(url, {
    transports,
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    auth: (send) => {
      say([index, 'connect', { position: cursor }])
      send({ token, since: cursor })
    },
  })
  socket.onAny((event, data) => {
    if (data?.position === undefined) return
    cursor = data.position
    say([index, event, data])
  })
  // The client comes back by itself, except when the server has told it to go.
  const again = () => socket.active || setTimeout(() => socket.connect(), 50)
  socket.on('connect_error', again)
  socket.on('disconnect', again)
}

const lines = createInterface({ input: process.stdin })
const [line] = await once(lines, 'line')
JSON.parse(line).forEach(open)
await once(lines, 'close')
process.exit()
