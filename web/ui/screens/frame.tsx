import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Ghost } from "../parts/icon.tsx";

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

/** What a page from a server can promise, and what not. */
export function Honesty({ host }: { readonly host: string }) {
  return (
    <details class="honesty">
      <summary>This page is code from {host}. What that means</summary>
      <p>
        Your texts are encrypted on this device, with keys that never leave it. But the program that does it comes from{" "}
        <strong>{host}</strong> each time this page is loaded. Whoever runs that server, or breaks into it, could send
        you another program that reads along, and you would not see it.
      </p>
      <p>
        So use this page if you trust the people who run <strong>{host}</strong>. If you must not trust them, use the
        command line, which you install once and can check.
      </p>
      <p>
        Anybody can compare what a server sends with the released program: <code>phantom web verify</code> does it. It
        shows what that server sent to whoever asked, at that moment.
      </p>
    </details>
  );
}
