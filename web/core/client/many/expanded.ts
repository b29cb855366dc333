/** The messages that one MESSAGE_MANY comes to: what their inner signatures cover. Pure. */
import { signedText } from "../../wire/codec.ts";
import type { MessageMany } from "../../wire/frames.ts";

const HEAD = '"encrypted":"';
const RECIPIENT = '"recipientId":"';

/** The canonical text of a MESSAGE without `id` and `signature`, for a head and a user id, both in base64. */
export type TextFor = (head: string, recipientId: string) => string;

/**
 * The texts of a message, whose payload is given as it is but for its recipients.
 *
 * What is the same for all is written once, and what differs is put in its places: in base64 nothing has to be escaped.
 */
export function expanded(payload: MessageMany["payload"], timestamp: number): TextFor {
  const { common, conversationId, messageId, metadata } = payload;
  const named = metadata === undefined ? {} : { metadata };
  const one = { conversationId, encrypted: common, messageId, recipientId: "", ...named };
  const text = signedText({ payload: one, timestamp, type: "MESSAGE" });
  // No value holds these marks: quotes of its own have a backslash before them.
  const atHead = text.indexOf(HEAD) + HEAD.length;
  const atRecipient = text.indexOf(RECIPIENT) + RECIPIENT.length;
  const [start, middle, end] = [text.slice(0, atHead), text.slice(atHead, atRecipient), text.slice(atRecipient)];
  return (head, recipientId) => start + head + middle + recipientId + end;
}
