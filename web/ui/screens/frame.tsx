import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Ghost } from "../parts/icon.tsx";
import { invitation } from "../model.ts";
import { plainName } from "../names.ts";

/** A screen with one matter: the mark, a heading, and what there is to do. */
export function Frame({ title, children, focusHeading = false }: { readonly title: string; readonly children: ComponentChildren; readonly focusHeading?: boolean }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (focusHeading) heading.current?.focus();
  }, []);
  return (
    <main class="frame">
      <div class="card">
        <Ghost />
        <h1 ref={heading} tabIndex={-1}>{title}</h1>
        {children}
      </div>
    </main>
  );
}

/** Whoever comes with a link sees that it is not lost, before there is a profile to add anybody to. */
export function Invited() {
  const invited = invitation.value;
  if (invited === null) return null;
  if ("join" in invited) return <p class="note">You opened a link to a group. You decide about it after this step.</p>;
  return (
    <p class="note">
      <strong><bdi>{invited.name === "" ? "Someone" : plainName(invited.name)}</bdi></strong> gave you a link to start a
      conversation. You decide about it after this step.
    </p>
  );
}

/** What a page from a server can promise, and what not. */
export function Honesty({ host }: { readonly host: string }) {
  return (
    <details class="honesty">
      <summary>This page runs code from {host}: what that means</summary>
      <p>
        Your texts are encrypted on this device, with keys that never leave it. But the program that does this comes from{" "}
        <strong>{host}</strong> every time you load this page. Anyone who runs that server, or breaks into it, could send
        you a different program that reads your texts, and you would not notice.
      </p>
      <p>
        So use this page if you trust the people who run <strong>{host}</strong>. If you cannot trust them, use the
        command-line program, which you install once and can check.
      </p>
      <p>
        Anyone can check what a server sends against the released program, with <code>phantom web verify</code>. It shows
        only what that server sent to whoever asked, at that moment.
      </p>
    </details>
  );
}
