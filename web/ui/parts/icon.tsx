/** Small drawings: decoration beside words, so screen readers pass over them. */

const PATHS = {
  alert: "M12 8v5M12 16.5v.01M10.3 4.2 2.6 17.5a2 2 0 0 0 1.7 3h15.4a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  back: "M15 5l-7 7 7 7",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Z",
  check: "M4.5 12.5 9.5 17.5 19.5 7",
  checks: "M1.5 12.5 6.5 17.5 15 8M11.5 16l1.5 1.5L22.5 7.5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5l3.5 2",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  down: "M12 5v14M5.5 12.5 12 19l6.5-6.5",
  flame: "M12 3c1 4 5 5.5 5 10.5a5 5 0 0 1-10 0c0-2 1-3.5 2-4.5.3 1.5 1 2.3 1.8 2.5C10.5 8.5 10.5 5.5 12 3Z",
  gear: "M10.4 5.3L10.5 2.7L13.5 2.7L13.6 5.3L15.6 6.1L17.5 4.4L19.6 6.5L17.9 8.4L18.7 10.4L21.3 10.5L21.3 13.5L18.7 13.6L17.9 15.6L19.6 17.5L17.5 19.6L15.6 17.9L13.6 18.7L13.5 21.3L10.5 21.3L10.4 18.7L8.4 17.9L6.5 19.6L4.4 17.5L6.1 15.6L5.3 13.6L2.7 13.5L2.7 10.5L5.3 10.4L6.1 8.4L4.4 6.5L6.5 4.4L8.4 6.1ZM12 15.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4Z",
  key: "M14.5 13.5a5 5 0 1 0-4-4L3 17v4h4v-2.5h2.5V16h2.5zM16 8v.01",
  more: "M12 5.5v.01M12 12v.01M12 18.5v.01",
  next: "M9 5l7 7-7 7",
  offline: "M3 3l18 18M8.5 15.5a5 5 0 0 1 6.5-.5M5 12a10 10 0 0 1 4-2.5M13 9a10 10 0 0 1 6 3M1.8 8.5a15 15 0 0 1 4-2.8M10 5a15 15 0 0 1 12.2 3.5M12 19.5v.01",
  muted: "M6 9.5a6 6 0 0 1 12 0c0 5 2 6.5 2 6.5H4s2-1.5 2-6.5ZM10 19.5a2.2 2.2 0 0 0 4 0M3 3l18 18",
  people: "M9 11.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM1.5 20c.4-4 3.5-6 7.5-6s7.1 2 7.5 6M16 4a4 4 0 0 1 0 7.2M18 14.6c2.6.7 4.200 2.500 4.500 5.400",
  person: "M12 12a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM3.5 21c.5-4.5 4-6.5 8.5-6.5s8 2 8.5 6.5",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 21 21",
  send: "M4 12 3 4l18 8-18 8 1-8Zm0 0h8",
  shield: "M12 3 4.5 6v5.5c0 4.5 3 8 7.5 9.5 4.5-1.5 7.5-5 7.5-9.5V6z",
  verified: "M12 3 4.5 6v5.5c0 4.5 3 8 7.5 9.5 4.5-1.5 7.5-5 7.5-9.5V6zM8.5 12l2.5 2.5 4.5-5",
  timer: "M12 21a8 8 0 1 0 0-16 8 8 0 0 0 0 16ZM12 9v4.5l2.5 1.5M9.5 2.5h5",
  up: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
} as const;

export type IconName = keyof typeof PATHS;

/** A drawing of one and a half lines of text. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The page's own mark. */
export function Ghost() {
  return (
    <svg class="ghost" viewBox="20 18 60 64" aria-hidden="true" focusable="false">
      <path d="M28 46a22 22 0 0 1 44 0V77.5c-2.7 0-4.6-9-7.3-9s-4.7 9-7.4 9-4.6-9-7.3-9-4.6 9-7.3 9-4.7-9-7.4-9-4.6 9-7.3 9Z" />
      <ellipse cx="42" cy="45" rx="3.4" ry="4.6" />
      <ellipse cx="58" cy="45" rx="3.4" ry="4.6" />
    </svg>
  );
}
