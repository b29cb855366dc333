import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { panel } from "../model.ts";
import { Icon } from "./icon.tsx";

interface DialogProps {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly isWide?: boolean;
}

/** Closes what lies over the conversations. */
export function closePanel(): void {
  panel.value = null;
}

/** What lies over the conversations: the browser keeps the focus in it, and closes it by Escape and by "back". */
export function Dialog({ title, children, isWide = false }: DialogProps) {
  const id = useId();
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const before = document.activeElement;
    const opened = element.current;
    opened?.showModal();
    opened?.querySelector<HTMLElement>("[data-begin]")?.focus();
    return () => {
      opened?.close(); // as long as it is open, nothing below it can have the focus
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={isWide ? "panel wide" : "panel"}
      aria-labelledby={id}
      // "close" comes a moment later, and a key that is pressed meanwhile would be lost. A file's "cancel" comes here too.
      onCancel={(event) => event.target === element.current && closePanel()}
      onClose={() => element.current !== null && closePanel()}
      onMouseDown={(event) => {
        if (event.target !== element.current) return;
        event.preventDefault(); // it would take the focus to where it is
        closePanel();
      }}
    >
      <div class="inside">
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="round" aria-label="Close" onClick={closePanel}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
