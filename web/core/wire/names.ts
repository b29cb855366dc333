/** Names of relays, host[:port], in the one form in which a login names the relay that was dialled. */

/**
 * What a login signs as `audience`: host[:port] of a ws or wss URL, without a default port.
 *
 * @throws TypeError It is not a URL.
 */
export function audienceOf(url: string): string {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/\.$/, "");
  return port === "" ? host : `${host}:${port}`;
}
