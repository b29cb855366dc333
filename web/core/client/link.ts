/**
 * One connection to the relay, without input and output: fed with texts and times, drained of texts.
 *
 * It logs in, keeps the relay's clock, signs, watches with PING, and names requests so that answers find them. What the
 * frames are for is not its business.
 */
import type { OwnIdentity } from "../crypto/keys.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { decodeRelay, encode, signedText } from "../wire/codec.ts";
import { ErrorCode, RequestError } from "../wire/codes.ts";
import { Feature } from "../wire/frames.ts";
import type { AuthFailure, ClientFrame, ConnectionAck, ErrorFrame, RelayFrame, SignedFrame } from "../wire/frames.ts";
import { RATES, type RateClass } from "../wire/limits.ts";
import { envelopeBytes } from "../wire/signing.ts";
import { LAST_TIME_MS } from "./content.ts";
import { quoted } from "./sanitize.ts";

/** Quiet time after which PING is sent: well below the relay's idle timeout and that of most NATs. */
export const PING_MS = 25_000;

/** Time without sending anything after which PING is sent: the relay closes after 300 s, whatever it sends itself. */
export const SPEAK_MS = 240_000;

/** How long the relay has to say anything before the connection counts as dead. */
export const PONG_MS = 10_000;

/** How long it may leave a PING unanswered while it says other things: a slow line takes a minute for what is before. */
export const LONGEST_PONG_MS = 120_000;

/**
 * How often a PING asks whether the mailbox is empty, while somebody wants to know: the first few times, and then; the
 * relay takes 60 of them a minute.
 */
export const LOOK_MS = 400;
export const LATER_LOOK_MS = 2_000;
export const EAGER = 6;

/**
 * How many in a row must be answered without anything of the mailbox in between: the relay sends a mailbox page by page,
 * each once the one before has left it, and an answer may stand between two of them.
 */
export const LOOKS = 3;

export const LOGIN_MS = 15_000;

/** How long to stay away after a login was refused for a limit that does not say how long. */
export const LIMITED_MS = 10_000;

export const PROTOCOL_VERSION = 1;

/** Signed frames remembered whose refusal may bring the relay's time. */
export const MAX_SIGNED = 1_000;

/** What this client can do, as it says in AUTH. */
export const FEATURES: readonly string[] = [Feature.ACK, Feature.SUITE2];

const STRANGE = "the relay sent something that is not part of the protocol";

/** Why a login is refused for good. Whatever else the reason is, known or not, it passes, or somebody repairs it. */
const OF_THIS_IDENTITY: ReadonlySet<string> = new Set(["identity", "signature", "key", "unsigned"]);

/** Where the connection stands: waiting for CONNECTION_ACK, then for AUTH_SUCCESS. */
export type LinkState = "waiting" | "authenticating" | "open" | "failed";

/**
 * AUTH_FAILURE has come, or a relay that this client cannot talk to.
 *
 * `reason` is a sentence for people, in which the relay's words are quoted; `code` is `details.reason`, '' if the relay
 * does not say; `retryAfter` milliseconds, if it was named. `isFinal`: it is this identity that is refused, and nothing
 * passes; null if the relay does not tell.
 */
export interface LoginFailed {
  readonly kind: "login-failed";
  readonly reason: string;
  readonly code: string;
  readonly retryAfter: number | null;
  readonly isFinal: boolean | null;
}

/**
 * What a connection has brought. `lost`: the relay is silent or does not speak the protocol; `reason` is a sentence.
 * `pong`: the relay has read everything that was sent before the PING with this number.
 */
export type LinkEvent =
  | { readonly kind: "logged-in" }
  | LoginFailed
  | { readonly kind: "lost"; readonly reason: string }
  | { readonly kind: "pong"; readonly request: number }
  | { readonly kind: "frame"; readonly frame: RelayFrame };

type Distributed<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** A frame to be sent, without what `Link` adds to it. */
export type Unsent = Distributed<Exclude<ClientFrame, SignedFrame>, "id" | "timestamp">;

/** The same, to be signed. */
export type UnsentSigned = Distributed<SignedFrame, "id" | "timestamp" | "signature">;

/** What a connection begins with. */
export interface LinkStart {
  /** One's user id, base64. */
  readonly userId: string;
  /** host[:port] as dialled. */
  readonly audience: string;
  /** Monotonic milliseconds. */
  readonly now: number;
  /** The local wall clock in milliseconds, however wrong. */
  readonly wall: number;
  /** Whether the session is to begin looking absent. */
  readonly absent?: boolean;
  /** What this client can do beside `FEATURES`. */
  readonly features?: readonly string[];
}

/** A connection. */
export class Link {
  /** Which of the features the relay has said that it knows; older relays say nothing. */
  relayFeatures: ReadonlySet<string> = new Set();
  readonly audience: string;
  /** The relay's, of this connection: it is in every signed frame that must serve nowhere else. */
  challenge = "";
  state: LinkState = "waiting";
  /** How far the relay's clock is ahead of this machine's, in milliseconds: for the timestamps of frames alone. */
  offset = 0;
  /** Whether the relay limits rates at all. */
  isLimited = true;
  messagesPerMinute = RATES.MESSAGE;

  private readonly identity: OwnIdentity;
  private readonly userId: string;
  private readonly features: readonly string[];
  private readonly startedAt: number;
  private readonly wall: number;
  private readonly now: number;
  private heardAt: number;
  private spokeAt: number;
  private pingedAt: number | null = null;
  private lastPingAt: number;
  /** How many have found nothing, in a row; null if nobody wants to know. */
  private looks: number | null = null;
  private asked = 0;
  private isFetched = false;
  private readonly signedRequests = new Set<string>();
  private requests = 0;
  private outgoing: string[] = [];

  constructor(identity: OwnIdentity, start: LinkStart) {
    this.identity = identity;
    this.userId = start.userId;
    this.features = [...FEATURES, ...(start.features ?? []), ...(start.absent === true ? [Feature.ABSENT] : [])];
    this.audience = start.audience;
    this.startedAt = this.heardAt = this.spokeAt = this.now = start.now;
    this.lastPingAt = start.now - PING_MS;
    this.wall = start.wall;
  }

  /** The texts to be sent, in order. */
  drain(): string[] {
    const outgoing = this.outgoing;
    this.outgoing = [];
    return outgoing;
  }

  /** Frames of a class a minute; null if the relay does not limit them. */
  limit(rate: RateClass): number | null {
    if (!this.isLimited) {
      return null;
    }
    return rate === "MESSAGE" ? this.messagesPerMinute : RATES[rate];
  }

  /** The relay's wall clock, as far as it is known, at a monotonic time. */
  relayTime(now: number): number {
    return this.wall + (now - this.now) + this.offset;
  }

  /** A message has come from the relay; binary ones it never sends. */
  receive(text: string | Uint8Array, now: number): LinkEvent[] {
    this.heardAt = now;
    if (this.state === "failed") {
      return []; // it is being left
    }
    if (typeof text !== "string") {
      return this.lose(STRANGE);
    }
    let frame: RelayFrame | null;
    try {
      frame = decodeRelay(text);
    } catch (error) {
      if (error instanceof RequestError) {
        return this.lose(STRANGE);
      }
      throw error;
    }
    return frame === null ? [] : this.received(frame, now);
  }

  private received(frame: RelayFrame, now: number): LinkEvent[] {
    if (this.state !== "open") {
      return this.receivedEarly(frame, now);
    }
    switch (frame.type) {
      case "CONNECTION_ACK":
      case "AUTH_SUCCESS":
      case "AUTH_FAILURE":
        return []; // of a login that is through
      case "PONG":
        this.pingedAt = null;
        this.looked();
        return frame.id !== undefined && /^[0-9]+$/.test(frame.id)
          ? [{ kind: "pong", request: Number(frame.id) }]
          : [];
      case "ERROR":
        this.takeClock(frame, now);
        return [{ kind: "frame", frame }];
      case "MESSAGE":
      case "MESSAGE_ACK":
        this.looks = this.looks === null ? null : 0;
        return [{ kind: "frame", frame }];
      default:
        return [{ kind: "frame", frame }];
    }
  }

  /** Before the login is through, nothing counts but what belongs to it; behind its end, nothing. */
  private receivedEarly(frame: RelayFrame, now: number): LinkEvent[] {
    if (frame.type === "CONNECTION_ACK" && this.state === "waiting") {
      return this.greeted(frame, now);
    }
    if (frame.type === "AUTH_FAILURE" && this.state !== "failed") {
      this.state = "failed";
      return [refusal(frame)];
    }
    if (this.state === "authenticating" && frame.type === "AUTH_SUCCESS") {
      this.state = "open";
      this.relayFeatures = new Set(frame.payload.features ?? []);
      return [{ kind: "logged-in" }];
    }
    if (this.state === "authenticating" && frame.type === "ERROR") {
      this.takeClock(frame, now);
    }
    return [];
  }

  private greeted(frame: ConnectionAck, now: number): LinkEvent[] {
    const { challenge, limits, protocolVersion, serverTime } = frame.payload;
    if (protocolVersion !== PROTOCOL_VERSION) {
      this.state = "failed";
      const reason = `the relay speaks version ${protocolVersion} of the protocol; update this program`;
      // One that has let this client in before speaks this one: it is somebody on the way, or passes.
      return [{ kind: "login-failed", reason, code: "version", retryAfter: null, isFinal: null }];
    }
    if (serverTime > LAST_TIME_MS) {
      return this.lose(STRANGE); // no calendar has it, and what is added to it could not be written
    }
    this.setClock(serverTime, now);
    this.isLimited = limits.messagesPerMinute !== null;
    this.messagesPerMinute = limits.messagesPerMinute || this.messagesPerMinute;
    this.authenticate(challenge, now);
    return [];
  }

  /** Time has passed. */
  tick(now: number): LinkEvent[] {
    if (this.state === "waiting" || this.state === "authenticating") {
      if (now - this.startedAt >= LOGIN_MS) {
        return this.lose("the relay did not answer the login");
      }
    } else if (this.state === "open") {
      if (this.pingedAt !== null && now >= this.pongUntil(this.pingedAt)) {
        return this.lose("the relay has stopped answering");
      }
      const isQuiet = now - this.heardAt >= PING_MS || now - this.spokeAt >= SPEAK_MS;
      const isLooking = this.looks !== null && this.mayPing(now, this.lookMs);
      this.asked += Number(isLooking);
      if (this.pingedAt === null && (isQuiet || isLooking)) {
        this.ping(now);
      }
    }
    return [];
  }

  private pongUntil(pingedAt: number): number {
    return Math.min(Math.max(pingedAt, this.heardAt) + PONG_MS, pingedAt + LONGEST_PONG_MS);
  }

  /** Milliseconds until `tick` has something to do. */
  nextTick(now: number): number {
    if (this.state !== "open") {
      return Math.max(0, this.startedAt + LOGIN_MS - now);
    }
    if (this.pingedAt !== null) {
      return Math.max(0, this.pongUntil(this.pingedAt) - now);
    }
    const look = this.looks === null ? Infinity : this.lastPingAt + this.lookMs;
    return Math.max(0, Math.min(this.heardAt + PING_MS, this.spokeAt + SPEAK_MS, look) - now);
  }

  private get lookMs(): number {
    return this.asked < EAGER ? LOOK_MS : LATER_LOOK_MS;
  }

  /** Find out whether the mailbox is empty. */
  look(): void {
    this.looks = this.asked = 0;
    this.isFetched = false;
  }

  private looked(): void {
    if (this.looks === null) return;
    this.looks += 1;
    if (this.looks >= LOOKS) {
      this.looks = null;
      this.isFetched = true;
    }
  }

  /** Whether everything has come that was in the mailbox; asked for the first time, that is to be found out. */
  get hasFetched(): boolean {
    if (this.looks === null && !this.isFetched) this.look();
    return this.isFetched;
  }

  /** Whether no PING is unanswered and the last one is `interval` milliseconds ago. */
  mayPing(now: number, interval: number): boolean {
    return this.pingedAt === null && now - this.lastPingAt >= interval;
  }

  /** Ask for a sign of life; returns the number that the `pong` will carry. */
  ping(now: number): number {
    this.pingedAt = this.lastPingAt = now;
    return Number(this.send({ type: "PING" }, now));
  }

  /**
   * Send a frame that needs no signature; it gets an id and the relay's time.
   *
   * @returns the id, which a direct answer repeats
   */
  send(frame: Unsent, now: number): string {
    const id = this.nextRequest();
    this.push({ ...frame, id, timestamp: this.relayTime(now) }, now);
    return id;
  }

  /** As `send`, signed by the identity. */
  sendSigned(frame: UnsentSigned, now: number): string {
    const id = this.nextRequest();
    this.signedRequests.add(id);
    if (this.signedRequests.size > MAX_SIGNED) {
      for (const oldest of this.signedRequests) {
        this.signedRequests.delete(oldest);
        break;
      }
    }
    const unsigned = { ...frame, id, timestamp: this.relayTime(now) };
    const signature = this.identity.sign(envelopeBytes(signedText(unsigned)));
    this.push({ ...unsigned, signature: encodeBase64(signature) }, now);
    return id;
  }

  private authenticate(challenge: string, now: number): void {
    this.state = "authenticating";
    this.challenge = challenge;
    const payload = {
      audience: this.audience,
      challenge,
      features: [...this.features],
      publicKey: encodeBase64(this.identity.peer.public),
      userId: this.userId,
    };
    this.sendSigned({ type: "AUTH", payload }, now);
  }

  private push(frame: ClientFrame, now: number): void {
    this.spokeAt = now;
    this.outgoing.push(encode(frame));
  }

  private nextRequest(): string {
    this.requests += 1;
    return String(this.requests);
  }

  /** The relay's time counts where it refuses the timestamp of a frame of one's own, and nowhere else. */
  private takeClock(error: ErrorFrame, now: number): void {
    const { details } = error.payload;
    if (error.id === undefined || details === undefined || !this.signedRequests.delete(error.id)) {
      return;
    }
    const time = details["serverTime"];
    const isTime = typeof time === "number" && Number.isSafeInteger(time) && time >= 0 && time <= LAST_TIME_MS;
    if (details["reason"] === "clock" && isTime) {
      this.setClock(time, now);
    }
  }

  private setClock(serverTime: number, now: number): void {
    this.offset = serverTime - (this.wall + (now - this.now));
  }

  private lose(reason: string): LinkEvent[] {
    this.state = "failed";
    return [{ kind: "lost", reason }];
  }
}

/** What AUTH_FAILURE means; a relay of version 0.1.0 names no reason, and its sentences are not to be read. */
function refusal(frame: AuthFailure): LoginFailed {
  const { payload } = frame;
  const found = payload.details?.["reason"];
  const code = typeof found === "string" ? found : "";
  const wait = payload.retryAfter ?? (payload.code === ErrorCode.RATE_LIMITED ? LIMITED_MS : null);
  const isFinal = code === "" && wait === null ? null : OF_THIS_IDENTITY.has(code);
  return { kind: "login-failed", reason: quoted(payload.reason), code, retryAfter: wait, isFinal };
}
