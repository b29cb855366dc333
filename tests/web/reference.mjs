// The example flow of the API reference, played by two users whose client knows nothing else.
// It runs in a browser and in Node: WebSocket, WebCrypto and JSON.stringify are all it needs.

const PATIENCE_MS = 15000;

const base64Encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const base64Decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const utf8 = (text) => new TextEncoder().encode(text);
const generateUUID = () => crypto.randomUUID();
const now = () => performance.timeOrigin + performance.now();

const sign = async (payload, privateKey) =>
  base64Encode(await crypto.subtle.sign('Ed25519', privateKey, utf8(JSON.stringify(payload))));

const verify = async (payload, signature, publicKey) => {
  const key = await crypto.subtle.importKey('raw', base64Decode(publicKey), 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', key, base64Decode(signature), utf8(JSON.stringify(payload)));
};

const newIdentity = async () => {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  return {
    id: crypto.getRandomValues(new Uint8Array(5)),
    publicKey: await crypto.subtle.exportKey('raw', pair.publicKey),
    privateKey: pair.privateKey,
  };
};

const newKeyPair = async () => {
  const pair = await crypto.subtle.generateKey('X25519', true, ['deriveBits']);
  return { publicKey: await crypto.subtle.exportKey('raw', pair.publicKey), privateKey: pair.privateKey };
};

const sessionKeyOf = async (own, peer) => {
  const key = await crypto.subtle.importKey('raw', base64Decode(peer), 'X25519', false, []);
  const secret = await crypto.subtle.deriveBits({ name: 'X25519', public: key }, own.privateKey, 256);
  return crypto.subtle.importKey('raw', secret, 'AES-GCM', false, ['encrypt', 'decrypt']);
};

const encryptMessage = async (plaintext, key) => {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, utf8(plaintext)));
  return new Uint8Array([...iv, ...sealed]);
};

const decryptMessage = async (bytes, key) =>
  new TextDecoder().decode(
    await crypto.subtle.decrypt({ name: 'AES-GCM', iv: bytes.slice(0, 12) }, key, bytes.slice(12)));

// One user: connects, logs in as soon as the socket is open, and hands on what comes, in its order.
class User {
  constructor(name, url, identity, found) {
    this.identity = identity;
    this.id = base64Encode(identity.id);
    this.waiting = [];
    this.came = [];
    const ws = new WebSocket(url);
    this.ws = ws;
    ws.onopen = () => {
      ws.send(JSON.stringify({
        type: 'AUTH',
        payload: { userId: this.id, publicKey: base64Encode(identity.publicKey) },
        timestamp: now(),
      }));
    };
    ws.onmessage = (event) => {
      const msg = JSON.parse(event.data);
      if (msg.type === 'ERROR' || msg.type === 'AUTH_FAILURE') found.refused.push([name, msg.type, msg.payload]);
      this.came.push(msg);
      this.waiting = this.waiting.filter((look) => !look());
    };
    ws.onclose = (event) => found.closed.push([name, event.code]);
  }

  // The first message that was not taken yet and is as wanted.
  next(wanted) {
    return new Promise((resolve) => {
      const look = () => {
        const index = this.came.findIndex(wanted);
        if (index < 0) return false;
        resolve(this.came.splice(index, 1)[0]);
        return true;
      };
      if (!look()) this.waiting.push(look);
    });
  }

  type(name) {
    return this.next((msg) => msg.type === name);
  }

  send(message) {
    this.ws.send(JSON.stringify({ ...message, timestamp: now() }));
  }

  async sendSigned(type, payload, more = {}) {
    this.ws.send(JSON.stringify({
      type, payload, timestamp: now(), ...more, signature: await sign(payload, this.identity.privateKey),
    }));
  }
}

const asWritten = ({ senderId, ...payload }) => payload;

const flow = async (alice, bob, found) => {
  // 1. Connect and Authenticate
  found.sessions = [(await alice.type('AUTH_SUCCESS')).payload, (await bob.type('AUTH_SUCCESS')).payload];

  // 2. Initiate Key Exchange
  const ephemeralKeyPair = await newKeyPair();
  await alice.sendSigned('KEY_EXCHANGE_INIT', {
    targetId: bob.id,
    identityKey: base64Encode(alice.identity.publicKey),
    ephemeralKey: base64Encode(ephemeralKeyPair.publicKey),
  });
  const init = await bob.type('KEY_EXCHANGE_INIT');
  found.initVerifies = await verify(asWritten(init.payload), init.signature, init.payload.identityKey);
  const signedPreKey = await newKeyPair();
  const mark = await crypto.subtle.sign('Ed25519', bob.identity.privateKey, signedPreKey.publicKey);
  await bob.sendSigned('KEY_EXCHANGE_RESPONSE', {
    senderId: bob.id,
    identityKey: base64Encode(bob.identity.publicKey),
    signedPreKey: base64Encode(signedPreKey.publicKey),
    preKeySignature: base64Encode(mark),
  });
  const response = await alice.type('KEY_EXCHANGE_RESPONSE');
  found.responseVerifies = await verify(response.payload, response.signature, response.payload.identityKey);

  // 3. Send Encrypted Message
  const sent = {
    recipientId: response.payload.senderId,
    encrypted: base64Encode(
      await encryptMessage('Grüße aus dem Browser', await sessionKeyOf(ephemeralKeyPair, response.payload.signedPreKey))),
    messageId: generateUUID(),
    conversationId: 'alice & bob',
    metadata: { burnAfterRead: true, expiresIn: 60000.5 },
  };
  await alice.sendSigned('MESSAGE', sent, { id: generateUUID() });
  const message = await bob.type('MESSAGE');
  found.messageVerifies = await verify(asWritten(message.payload), message.signature, init.payload.identityKey);
  found.sender = message.payload.senderId === alice.id;
  found.text = await decryptMessage(
    base64Decode(message.payload.encrypted), await sessionKeyOf(signedPreKey, init.payload.ephemeralKey));

  // Presence, and what became of the message
  bob.send({ type: 'PRESENCE', payload: { status: 'typing' } });
  found.presence = (await alice.next((msg) => msg.type === 'PRESENCE' && msg.payload.status === 'typing')).payload;
  found.presence.userId = found.presence.userId === bob.id ? 'bob' : found.presence.userId;
  for (const status of ['delivered', 'read', 'burned']) {
    bob.send({ type: 'MESSAGE_ACK', payload: { messageId: message.payload.messageId, status, timestamp: now() } });
  }
  found.statuses = [];
  while (found.statuses.at(-1) !== 'burned') {
    const { messageId, status } = (await alice.type('MESSAGE_ACK')).payload;
    if (messageId === sent.messageId) found.statuses.push(status);
  }

  // PING/PONG
  alice.send({ type: 'PING' });
  found.pong = typeof (await alice.type('PONG')).timestamp;
};

// Play the flow at a relay; everything that was seen, whether or not it came to its end.
export const play = async (url) => {
  const found = { refused: [], closed: [], done: false };
  const [alice, bob] = [
    new User('alice', url, await newIdentity(), found), new User('bob', url, await newIdentity(), found)];
  const timeout = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
  const ended = new Promise((resolve) => { bob.ws.addEventListener('close', resolve); });
  await Promise.race([flow(alice, bob, found).then(() => { found.done = true; }), timeout, ended]);
  const result = JSON.stringify(found);
  alice.ws.close();
  bob.ws.close();
  return result;
};

if (globalThis.process?.argv?.[2]) {
  console.log(await play(process.argv[2]));
  process.exit(0);
}
