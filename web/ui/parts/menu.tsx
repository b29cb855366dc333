import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icon.tsx";

interface MenuProps {
  readonly label: string;
  readonly icon: IconName;
  readonly isOn?: boolean;
  readonly opens?: "down" | "up";
  /** What is in it; `close` ends it and gives the focus back. */
  children(close: () => void): ComponentChildren;
}

/** A button that shows more; Escape, a press elsewhere or leaving it by Tab closes it. */
export function Menu({ label, icon, isOn = false, opens = "down", children }: MenuProps) {
  const id = useId();
  const [isOpen, setOpen] = useState(false);
  const whole = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  function close(): void {
    setOpen(false);
    button.current?.focus();
  }
  useEffect(() => {
    if (!isOpen) return undefined;
    const leave = (event: Event) => {
      if (event.target instanceof Node && whole.current?.contains(event.target) === false) setOpen(false);
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
    };
  }, [isOpen]);
  return (
    <div
      class={`menu ${opens}`}
      ref={whole}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !isOpen) return;
        event.stopPropagation();
        close();
      }}
    >
      <button
        ref={button}
        type="button"
        class={isOn ? "round on" : "round"}
        aria-label={label}
        title={label}
        aria-expanded={isOpen}
        aria-controls={id}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={icon} />
      </button>
      <div class="sheet" id={id} hidden={!isOpen}>
        {isOpen && children(close)}
      </div>
    </div>
  );
}

/** One line of a menu, which closes it. */
export function Entry({ onClick, close, children }: { onClick(): void; close(): void; readonly children: ComponentChildren }) {
  return (
    <li>
      <button
        type="button"
        onClick={() => {
          close();
          onClick();
        }}
      >
        {children}
      </button>
    </li>
  );
}
