// A client in TypeScript, of which every request and answer has the type that was generated from the API's document.
//
//   node client.js {"url", "businessId", "password"}
//
// `api.ts` is what openapi-typescript makes of the document. Out goes one JSON object.
import createClient from 'openapi-fetch'
import type { components, paths } from './api.js'

type Schemas = components['schemas']

// All that is needed of Node.
declare const process: { argv: string[] }

const { url, businessId, password }: Record<string, string> = JSON.parse(process.argv[2] ?? '{}')

function must<T>({ data, error }: { data?: T; error?: Schemas['Error'] }): T {
  if (data === undefined) throw new Error(error ? `${error.errorCode}: ${error.error}` : 'an empty answer')
  return data
}

async function logIn(name: string) {
  const api = createClient<paths>({ baseUrl: url! })
  const body: Schemas['MessengerLogin'] = { email: `${name}@example.com`, password: password!, businessId: businessId! }
  const { token, user } = must(await api.POST('/api/messenger/auth/login', { body }))
  api.use({
    onRequest({ request }) {
      request.headers.set('authorization', `Bearer ${token}`)
    },
  })
  return { api, id: user.id }
}

const alice = await logIn('alice')
const bob = await logIn('bob')

const { message: sent } = must(await alice.api.POST('/api/messenger/messages', {
  body: { recipientId: bob.id, content: 'Hello from TypeScript!', type: 'text' },
  params: { header: { 'Idempotency-Key': 'only once' } },
}))
const { message: read } = must(await bob.api.GET('/api/messenger/messages/{id}', { params: { path: { id: sent.id } } }))
const { users } = must(await alice.api.GET('/api/messenger/users', { params: { query: { limit: 10 } } }))
// Where there is nothing the server says null, and so do the types.
const nothing: Schemas['Colleague']['avatar'] = null

const { error } = await bob.api.GET('/api/messenger/messages/{id}', { params: { path: { id: 'no-such-message' } } })
if (error === undefined) throw new Error('there is such a message')
const isNotFound = error.errorCode === 'NOT_FOUND'
// @ts-expect-error the codes of errors are known, and this is none
const isMadeUp = error.errorCode === 'NO_SUCH_CODE'

// What the document doesn't allow doesn't compile.
// @ts-expect-error a message is sent to somebody
const toNobody: Schemas['SendMessage'] = { content: 'Hello?' }
// @ts-expect-error there is no such kind of message
const ofNoKind: Schemas['SendMessage']['type'] = 'smoke signal'
// @ts-expect-error one reads with GET
const withoutSuchMethod = () => bob.api.DELETE('/api/messenger/messages/{id}')

console.log(JSON.stringify({
  read: { senderId: read.senderId, recipientId: read.recipientId, content: read.content, type: read.type },
  colleagues: users.map((user) => user.name),
  avatars: users.filter((user) => user.avatar !== nothing).length,
  error: { isNotFound, isMadeUp, statusCode: error.statusCode, error: error.error },
}))
