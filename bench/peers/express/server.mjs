// The peer: logging in, sending a message and receiving it, competently written with Express 5, Socket.IO 4 and pg. One process,
// since that is faster here than several. A message is committed before anybody hears of it.
//
// Usage: DATABASE_URL=postgres://… PORT=0 node server.mjs

import { createSecretKey, randomBytes, randomUUID, scrypt, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { promisify } from "node:util";
import express from "express";
import jwt from "jsonwebtoken";
import pg from "pg";
import { Server } from "socket.io";

const KEY = createSecretKey(randomBytes(32));
const TYPES = new Set(["text", "image", "video", "audio", "file"]);
const hash = promisify(scrypt);

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
await pool.query(`
  CREATE TABLE IF NOT EXISTS users (
    id uuid PRIMARY KEY, business_id uuid NOT NULL, email text NOT NULL, name text NOT NULL, avatar text,
    password_hash bytea NOT NULL, salt bytea NOT NULL, UNIQUE (business_id, email));
  CREATE TABLE IF NOT EXISTS messages (
    id uuid PRIMARY KEY, seq bigint GENERATED ALWAYS AS IDENTITY, business_id uuid NOT NULL, sender_id uuid NOT NULL,
    recipient_id uuid NOT NULL, content text NOT NULL, type text NOT NULL, sent_at timestamptz NOT NULL,
    read_at timestamptz);
  CREATE INDEX IF NOT EXISTS messages_by_pair
    ON messages (least(sender_id, recipient_id), greatest(sender_id, recipient_id), seq);
  CREATE INDEX IF NOT EXISTS messages_unread ON messages (recipient_id) WHERE read_at IS NULL;`);

class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

function authenticate(token) {
  try {
    return jwt.verify(token ?? "", KEY, { algorithms: ["HS256"], issuer: "peer" });
  } catch {
    throw new Refused(401, "UNAUTHORIZED", "Missing or invalid auth token");
  }
}

// One round trip: the recipient is looked up, and the message inserted if there is one.
const SEND = {
  name: "send",
  text: `INSERT INTO messages (id, business_id, sender_id, recipient_id, content, type, sent_at)
         SELECT $1, u.business_id, $2, u.id, $5, $6, $7 FROM users u WHERE u.id = $3 AND u.business_id = $4`,
};

async function send(sender, body) {
  const { recipientId, content, type = "text" } = body ?? {};
  if (typeof recipientId !== "string" || typeof content !== "string" || !content || content.length > 10_000 || !TYPES.has(type)) {
    throw new Refused(422, "VALIDATION_ERROR", "Invalid message");
  }
  const message = {
    id: randomUUID(), senderId: sender.sub, recipientId, content, type, timestamp: new Date().toISOString(), read: false,
  };
  const values = [message.id, sender.sub, recipientId, sender.business, content, type, message.timestamp];
  const { rowCount } = await pool.query({ ...SEND, values });
  if (rowCount === 0) throw new Refused(404, "NOT_FOUND", "Recipient not found");
  io.to(recipientId).emit("message:received", { ...message, senderName: sender.name, senderAvatar: null });
  io.to(sender.sub).emit("message:sent", message);
  return message;
}

const errorBody = (error) => ({ success: false, error: error.message, errorCode: error.code, statusCode: error.status });

const app = express();
app.disable("x-powered-by").disable("etag");
app.use(express.json({ limit: "128kb" }));

// As much of administration as it takes to set the benchmark up.
app.post("/api/admin/auth/login", (_request, response) => response.json({ success: true, token: "nobody asks for it" }));
app.post("/api/admin/businesses", (_request, response) => response.json({ success: true, business: { id: randomUUID() } }));
app.post("/api/admin/users", async (request, response) => {
  const { email, name, password, businessId } = request.body;
  const [id, salt] = [randomUUID(), randomBytes(16)];
  await pool.query({
    name: "create",
    text: "INSERT INTO users (id, business_id, email, name, password_hash, salt) VALUES ($1, $2, $3, $4, $5, $6)",
    values: [id, businessId, email, name, await hash(password, salt, 32), salt],
  });
  response.status(201).json({ success: true, user: { id } });
});

app.post("/api/messenger/auth/login", async (request, response) => {
  const { email, password, businessId } = request.body ?? {};
  const { rows } = await pool.query({
    name: "login",
    text: "SELECT id, business_id, name, password_hash, salt FROM users WHERE business_id = $1 AND email = $2",
    values: [businessId, email],
  });
  const [user] = rows;
  if (!user || !timingSafeEqual(await hash(String(password), user.salt, 32), user.password_hash)) {
    throw new Refused(401, "UNAUTHORIZED", "Invalid credentials");
  }
  const token = jwt.sign({ business: user.business_id, name: user.name }, KEY, { subject: user.id, issuer: "peer", expiresIn: "1h" });
  response.json({ success: true, token, user: { id: user.id, name: user.name } });
});

app.post("/api/messenger/messages", async (request, response) => {
  const sender = authenticate(request.headers.authorization?.replace(/^Bearer /, ""));
  response.status(201).json({ success: true, message: await send(sender, request.body) });
});

// Express tells a handler of errors by its four arguments.
app.use((error, _request, response, _next) => {
  const refused = error instanceof Refused ? error : new Refused(error.status ?? 500, "INTERNAL_ERROR", "Internal error");
  response.status(refused.status).json(errorBody(refused));
});

const server = createServer(app);
const io = new Server(server, { serveClient: false });
io.use((socket, next) => {
  try {
    socket.data.user = authenticate(socket.handshake.auth.token);
    next();
  } catch (error) {
    next(error);
  }
});
io.on("connection", (socket) => {
  socket.join(socket.data.user.sub);
  socket.on("message:send", async (body, acknowledge) => {
    try {
      const message = await send(socket.data.user, body);
      acknowledge?.({ success: true, message });
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(500, "INTERNAL_ERROR", "Internal error");
      acknowledge?.(errorBody(refused));
    }
  });
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
