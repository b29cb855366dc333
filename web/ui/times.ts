/** Times and numbers in words: in the language of the page (English), with the clock that this browser's user is used to. */

const own = navigator.languages.find((language) => language.startsWith("en"));
const LANGUAGE = own ?? "en-GB";
const { hourCycle } = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions();

function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat(LANGUAGE, "hour" in options && hourCycle ? { ...options, hourCycle } : options);
}

const clockFormat = format({ hour: hourCycle?.startsWith("h1") === true ? "numeric" : "2-digit", minute: "2-digit" });
const weekdayFormat = format({ weekday: "short" });
const dateFormat = format({ day: "numeric", month: "short" });
const yearFormat = format({ day: "numeric", month: "short", year: "numeric" });
const headingFormat = format({ weekday: "long", day: "numeric", month: "long" });
const longHeadingFormat = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const number = new Intl.NumberFormat(LANGUAGE);
const plural = new Intl.PluralRules(LANGUAGE);

const DAY_MS = 86_400_000;

/** The hour and minute. */
export function clock(at: number): string {
  return clockFormat.format(at);
}

/** The number of the day by this device's calendar: equal for times of one day. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return Math.round(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY_MS);
}

/** A day as a heading: "Today", "Yesterday", else the date. */
export function dayHeading(at: number, now: number): string {
  const ago = dayOf(now) - dayOf(at);
  if (ago === 0 || ago === 1) return capital(relative.format(-ago, "day"));
  const isThisYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return (isThisYear ? headingFormat : longHeadingFormat).format(at);
}

/** As short as the list of conversations needs it. */
export function short(at: number, now: number): string {
  const ago = dayOf(now) - dayOf(at);
  if (ago === 0) return clock(at);
  if (ago > 0 && ago < 7) return weekdayFormat.format(at);
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? dateFormat : yearFormat).format(at);
}

/** A moment in the middle of a sentence: "12:03", "yesterday, 12:03", "27 Nov, 12:03". */
export function moment(at: number, now: number): string {
  const ago = dayOf(now) - dayOf(at);
  if (ago === 0) return clock(at);
  return `${Math.abs(ago) === 1 ? relative.format(-ago, "day") : short(at, now)}, ${clock(at)}`;
}

/** How many of something: `count(2, "new text")` is "2 new texts". */
export function count(many: number, one: string, several = `${one}s`): string {
  return `${number.format(many)} ${plural.select(many) === "one" ? one : several}`;
}

/** Whole seconds until a moment, at least 0. */
export function secondsUntil(at: number, now: number): number {
  return Math.max(0, Math.ceil((at - now) / 1000));
}

function capital(text: string): string {
  return text.charAt(0).toLocaleUpperCase(LANGUAGE) + text.slice(1);
}
