// The socket code of the promised API, as it was published, run by the official client; around it, what makes the events happen.
//
//   node seed.mjs URL TRANSPORTS ALICE BOB      (ALICE and BOB: {"id": …, "token": …})
import assert from 'node:assert/strict'
import { io } from 'socket.io-client'

const [url, transports, alice, bob] = process.argv.slice(2).map((arg, n) => n === 0 ? arg : JSON.parse(arg))
const post = async (path, body) => {
  const answer = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${alice.token}` },
    body: JSON.stringify(body),
  })
  assert.equal(answer.status, 201)
  return answer.json()
}
const connect = (person) => io(url, { auth: { token: person.token }, transports })
const once = (socket, event) => new Promise((resolve) => socket.once(event, resolve))
const has = (data, keys) => {
  for (const [key, type] of Object.entries(keys)) assert.equal(typeof data[key], type, `${key} of ${JSON.stringify(data)}`)
}

const heard = {}
const console = { log: (...args) => args }

const socket = connect(bob)
socket.onAny((event, data) => (heard[event] ??= []).push(data))
const usersOnline = once(socket, 'users:online')
await once(socket, 'connect')

// --- verbatim -------------------------------------------------------------------------------------------------------------
socket.on('message:received', (data) => {
console.log(data)
// {
// id: "msg_id",
// senderId: "user_id",
// content: "Hello!",
// senderName: "John",
// timestamp: "2025-11-22T10:30:00Z"
// }
})
socket.on('call:incoming', (data) => {
// {
// callId: "call_id",
// callerId: "caller_id",
// callerName: "John Doe",
// callerAvatar: "https://...",
// callType: "video",
// roomId: "room_123"
// }
})
// Listen for users coming online
socket.on('user:online', (userId) => {
console.log('User came online:', userId)
// Update UI to show user as online
})
// Listen for users going offline
socket.on('user:offline', (userId) => {
console.log('User went offline:', userId)
// Update UI to show user as offline
})
// Get list of online users
socket.on('users:online', (userIds) => {
console.log('Online users:', userIds)
// {
// users: ["user1_id", "user2_id"]
// }
})
// Listen for typing indicator
socket.on('typing:indicator', (data) => {
// { userId: "user_id" }
console.log('User is typing...')
})
// --------------------------------------------------------------------------------------------------------------------------

assert.deepEqual((await usersOnline).users.includes(bob.id), true)

let event = once(socket, 'user:online')
const alices = connect(alice)
assert.equal(await event, alice.id)

event = once(socket, 'message:received')
const { message } = await post('/api/messenger/messages', {
"recipientId": bob.id,
"content": "Hello! How are you?",
"type": "text",
"attachments": []
})
const received = await event
has(received, { id: 'string', senderId: 'string', content: 'string', senderName: 'string', timestamp: 'string' })
assert.equal(received.id, message.id)

event = once(alices, 'message:read')
// Send read receipt
socket.emit('message:read', {
messageId: message.id
})
assert.equal((await event).messageId, message.id)

const call = async () => {
  const incoming = once(socket, 'call:incoming')
  const { call } = await post('/api/messenger/calls', {
"recipientId": bob.id,
"callType": "video", // or "audio"
"roomId": "room_123"
  })
  const data = await incoming
  has(data, { callId: 'string', callerId: 'string', callerName: 'string', callType: 'string', roomId: 'string' })
  assert.equal(data.callerAvatar, null)
  assert.equal(data.callId, call.id)
  return call.id
}
let call_id = await call()
event = once(alices, 'call:accepted')
// Accept call
socket.emit('call:accept', { callId: call_id })
assert.equal((await event).callId, call_id)
event = once(alices, 'call:ended')
// End call
socket.emit('call:end', { callId: call_id })
assert.equal((await event).callId, call_id)
call_id = await call()
event = once(alices, 'call:rejected')
// Reject call
socket.emit('call:reject', { callId: call_id })
assert.equal((await event).callId, call_id)

event = once(socket, 'typing:indicator')
// User started typing
alices.emit('typing:start', {
recipientId: bob.id
})
assert.deepEqual(await event, { userId: alice.id })
event = once(socket, 'typing:stopped')
// User stopped typing
alices.emit('typing:stop', {
recipientId: bob.id
})
assert.deepEqual(await event, { userId: alice.id })

event = once(socket, 'user:offline')
alices.disconnect()
assert.equal(await event, alice.id)
assert.equal(heard.error, undefined)
socket.disconnect()
process.stdout.write(JSON.stringify(Object.keys(heard)))
