/**
 * The device's persistent clock, by which messages expire and keys age, kept in its vault.
 *
 * No peer and no relay can move it, and setting the wall clock does not. It starts at about the milliseconds since
 * 1970, and is never shown: what people see of a time is the wall clock's.
 */
import { resumed } from "./clock.ts";
import type { ClockSnapshot } from "./clock.ts";
import { VaultDamaged } from "./errors.ts";
import * as records from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

/** How often the moment is kept: so much of the time that passes is at most forgotten with a run that was killed. */
export const KEEP_MS = 3_600_000;

/**
 * How far the wall clock may drift from persistent time before the moment is kept again, so that after a restart a
 * clock that was set is not mistaken for time that has passed.
 */
export const STEP_MS = 2_000;

/** The clocks of a device, read each time. */
export interface Clocks {
  /** Milliseconds since 1970, however wrong. */
  wall(): number;
  /** Milliseconds that never go back, those in which the device slept included if that can be known. */
  sinceBoot(): number;
  /** Names the run in which `sinceBoot` counts, '' if unknown. */
  readonly boot: string;
}

/** Persistent time, which goes on across restarts. */
export class ExpiryClock {
  readonly #vault: Vault;
  readonly #clocks: Clocks;
  readonly #atBoot: number;
  #kept: ClockSnapshot | null = null;

  constructor(vault: Vault, clocks: Clocks) {
    this.#vault = vault;
    this.#clocks = clocks;
    this.#atBoot = this.#start() - clocks.sinceBoot();
    vault.transaction((tx) => this.keep(tx));
  }

  /** Milliseconds of persistent time. */
  now(): number {
    return this.#atBoot + this.#clocks.sinceBoot();
  }

  /** Keep the moment if it is time. */
  keep(tx: Transaction): void {
    const sinceBoot = this.#clocks.sinceBoot();
    const mark: ClockSnapshot = {
      boot: this.#clocks.boot,
      sinceBoot,
      wall: this.#clocks.wall(),
      persistent: this.#atBoot + sinceBoot,
    };
    const kept = this.#kept;
    if (kept !== null && kept.boot === mark.boot) {
      const passed = mark.persistent - kept.persistent;
      if (passed < KEEP_MS && Math.abs(mark.wall - kept.wall - passed) < STEP_MS) {
        return;
      }
    }
    tx.put(records.CLOCK, "", { boot: mark.boot, sinceBoot, wall: mark.wall, steady: mark.persistent });
    tx.onCommit(() => {
      this.#kept = mark;
    });
  }

  #start(): number {
    const now = { boot: this.#clocks.boot, sinceBoot: this.#clocks.sinceBoot(), wall: this.#clocks.wall() };
    try {
      const kept = this.#vault.get(records.CLOCK, "");
      if (kept !== null) {
        const { boot, sinceBoot, wall, steady } = kept;
        this.#kept = { boot, sinceBoot, wall, persistent: steady };
      }
    } catch (error) {
      if (!(error instanceof VaultDamaged)) {
        throw error;
      }
    }
    return resumed(this.#kept, now);
  }
}
