/** What a user tells others of their doings: the settings of a profile. */
import * as records from "./records.ts";
import { SettingsRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/**
 * What others may learn.
 *
 * `readReceipts`: that one has read a message, or read and burned it. `typing`: that one is typing. `presence`: that
 * one is online; without it one appears offline, and delivery receipts are sent only when one writes to the sender, or
 * reads the message while read receipts are on.
 */
export type Settings = SettingsRecord;

/** Those of somebody whose settings are damaged: nobody is told what they may not want to be told. */
const SILENT: Settings = { readReceipts: false, typing: false, presence: false };

const NAMES = ["readReceipts", "typing", "presence"] as const;

/** The settings, stored. */
export class SettingsStore {
  #current: Settings;
  readonly #vault: Vault;
  /** Called within each transaction that changes them. */
  follow: (tx: Transaction) => void = () => undefined;

  constructor(vault: Vault) {
    this.#vault = vault;
    const otherwise = vault.has(records.SETTINGS, "") ? SILENT : SettingsRecord.make({});
    this.#current = vault.find(records.SETTINGS, "") ?? otherwise;
  }

  get current(): Settings {
    return this.#current;
  }

  /** Change some of them. */
  change(changes: Partial<Settings>): Settings {
    const before = this.#current;
    const after = { ...before, ...changes };
    this.#vault.transaction((tx) => {
      tx.put(records.SETTINGS, "", after);
      if (NAMES.some((name) => before[name] !== after[name])) {
        this.follow(tx);
      }
      tx.onCommit(() => {
        this.#current = after;
      });
    });
    return after;
  }
}
