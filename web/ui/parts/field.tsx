import type { ComponentChildren, RefObject } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { LEAST, strengthOf } from "../strength.ts";

interface FieldProps {
  readonly label: string;
  readonly value: string;
  onValue(value: string): void;
  readonly hint?: ComponentChildren;
  readonly isRequired?: boolean;
  readonly hasFocus?: boolean;
  readonly autocomplete?: string;
  readonly maxLength?: number;
  /** Why what is entered cannot be taken, or ''. */
  readonly fault?: string;
}

/** The field of a form in which one begins. */
function useFocus(hasFocus: boolean): RefObject<HTMLInputElement | null> {
  const input = useRef<HTMLInputElement>(null);
  // Before anything is painted: what is typed from then on belongs here.
  useLayoutEffect(() => {
    if (hasFocus) input.current?.focus();
  }, []);
  return input;
}

/** A line of text with its name above and a hint below. */
export function Field({ label, value, onValue, hint, isRequired = false, hasFocus = false, autocomplete = "off", maxLength, fault }: FieldProps) {
  const id = useId();
  const input = useFocus(hasFocus);
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        ref={input}
        id={id}
        data-begin={hasFocus || undefined}
        aria-invalid={fault !== undefined && fault !== "" ? "true" : undefined}
        type="text"
        dir="auto"
        value={value}
        required={isRequired}
        autocomplete={autocomplete}
        spellcheck={false}
        {...(maxLength === undefined ? {} : { maxLength })}
        {...(hint === undefined ? {} : { "aria-describedby": `${id}h` })}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      {hint !== undefined && <p class="hint" id={`${id}h`}>{hint}</p>}
      {fault !== undefined && <Refusal text={fault} />}
    </div>
  );
}

interface PassphraseProps {
  readonly label: string;
  readonly value: string;
  onValue(value: string): void;
  readonly hint?: string;
  /** Says how strong it is: for a new one. */
  readonly isNew?: boolean;
  readonly hasFocus?: boolean;
}

/** A passphrase that can be looked at while it is typed. */
export function Passphrase({ label, value, onValue, hint, isNew = false, hasFocus = false }: PassphraseProps) {
  const id = useId();
  const input = useFocus(hasFocus);
  const [isShown, setShown] = useState(false);
  const strength = isNew ? strengthOf(value) : null;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="together">
        <input
          ref={input}
          id={id}
          data-begin={hasFocus || undefined}
          {...(isShown ? { type: "text" as const } : { type: "password" as const })}
          value={value}
          required
            autocomplete={isNew ? "new-password" : "current-password"}
          autocapitalize="none"
          spellcheck={false}
          {...(hint === undefined ? {} : { "aria-describedby": `${id}h` })}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
        <button type="button" class="quiet" aria-pressed={isShown} onClick={() => setShown(!isShown)}>
          Show
        </button>
      </div>
      {isNew && (
        <p class={`strength ${strength ?? "none"}`} role="status">
          <span class="bars" aria-hidden="true" />
          {strength === null || [...value].length < LEAST
            ? `At least ${LEAST} characters. A few unrelated words are easier to remember than one word full of symbols.`
            : `Strength: ${strength}`}
        </p>
      )}
      {hint !== undefined && <p class="hint" id={`${id}h`}>{hint}</p>}
    </div>
  );
}

interface CheckProps {
  readonly label: string;
  readonly isOn: boolean;
  onChange(isOn: boolean): void;
  readonly hint?: string;
}

/** Something that is on or off. */
export function Check({ label, isOn, onChange, hint }: CheckProps) {
  const id = useId();
  return (
    <div class="check">
      <input
        id={id}
        type="checkbox"
        checked={isOn}
        {...(hint === undefined ? {} : { "aria-describedby": `${id}h` })}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <div>
        <label for={id}>{label}</label>
        {hint !== undefined && <p class="hint" id={`${id}h`}>{hint}</p>}
      </div>
    </div>
  );
}

interface ChoiceProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly (readonly [T, string])[];
  onChoose(value: T): void;
}

/** One of a few. */
export function Choice<T extends string>({ label, value, options, onChoose }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="segments">
        {options.map(([option, word]) => (
          <label key={option}>
            <input type="radio" name={name} checked={option === value} onChange={() => onChoose(option)} />
            <span>{word}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** Why something was refused: said at once. */
export function Refusal({ text }: { readonly text: string }) {
  return (
    <div role="alert" class="refusal">
      {text}
    </div>
  );
}
