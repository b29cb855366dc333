/**
 * The whole worker but its messages: what stage the profile is at, and the calls of `api.ts`.
 *
 * A profile is open in one place at a time (`locks.ts`, and the numbers of `storage.ts`). While it is, a `Loop` runs
 * its core; nothing is told to the page that is not stored.
 */
import type { Api, Me, Stage, Update } from "../api.ts";
import type { DeviceCalls } from "../devices_api.ts";
import type { GroupCalls } from "../groups_api.ts";
import { VaultDamaged } from "../core/client/errors.ts";
import type { Extend } from "../core/client/extension.ts";
import { Messenger } from "../core/client/messenger.ts";
import { checkedName } from "../core/client/names.ts";
import { NOT_DELETED } from "../core/client/notices.ts";
import * as records from "../core/client/records.ts";
import { MeRecord } from "../core/client/records.ts";
import { makeLock, newKey, newVault, openLock, openVault } from "../core/client/vault.ts";
import type { Batch, Progress, Vault } from "../core/client/vault.ts";
import type { CallPorts, ProfileCalls } from "./calls.ts";
import type { CallsWithGroups, GroupsOfCore } from "./groups.ts";
import { faultOf, Refused } from "./faults.ts";
import { firstStage } from "./first.ts";
import { hold } from "./locks.ts";
import type { Held } from "./locks.ts";
import type { DeviceFront } from "./devices.ts";
import type * as later from "./later.ts";
import { Loop } from "./loop.ts";
import type { Core, Step } from "./loop.ts";
import { putName, within } from "./new_profile.ts";
import { changePassphrase, checkNewPassphrase, checkPassphrase } from "./passphrase.ts";
import { openStay, wrapForStay } from "./stay.ts";
import { openStorage, setMarker, TakenOver, VaultFull } from "./storage.ts";
import type { Storage } from "./storage.ts";
import { PassingState, TYPING_MS } from "./passing.ts";
import type { Platform } from "./platform.ts";
import type { Changes } from "./updates.ts";

/** How long a user waits for the relay to delete the account, before they hear that it takes longer. */
export const DELETE_MS = 10_000;

/** A profile that is in use here. */
interface Running {
  readonly loop: Loop;
  readonly held: Held;
  readonly calls: CallsWithGroups;
  readonly ports: CallPorts;
  readonly devices: DeviceFront;
  readonly loaded: typeof later;
}

type Working = Extract<Stage, { readonly at: "working" }>["what"];

/** The worker. */
export class Service {
  readonly #platform: Platform;
  #stage: Stage = { at: "first-run" };
  #relay = "";
  #page = "";
  #storage: Storage | null = null;
  #key: Uint8Array | null = null;
  #stays = false;
  #running: Running | null = null;
  #changes: Changes | null = null;
  /** Of the same core. */
  #groups: GroupsOfCore | null = null;
  #passing = new PassingState();
  /** What ends the typing of contacts. */
  readonly #typing = new Map<string, ReturnType<typeof setTimeout>>();
  #isCommitting = false;
  #isLost = false;
  #isFull = false;
  #hadNobody = true;
  /** The user id of a profile that is there and cannot be opened: another one may take its place. */
  #lost: string | null = null;
  /** How often the profile had been locked when it was opened here. */
  #locks = 0;
  /** Ends the call that waits for the account to be deleted, if one does. */
  #endDeleting = (_error: unknown): void => undefined;
  readonly #own: Omit<Api, keyof ProfileCalls | keyof DeviceCalls | keyof GroupCalls> = {
    begin: (given) => this.#begin(given),
    create: (given) => this.#create(given),
    unlock: (given) => this.#unlock(given),
    restore: (given) => this.#restore(given),
    takeOver: () => this.#takeOver(),
    forget: () => this.#forget(),
    lock: () => this.#lock(),
    backup: (given) => this.#backup(given),
    changePassphrase: (given) => this.#changePassphrase(given),
    staySignedIn: (given) => this.#staySignedIn(given),
    deleteAccount: () => this.#deleteAccount(),
  };

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Carry out a call; rejects with a `Fault`. */
  async call(name: string, given: unknown): Promise<unknown> {
    try {
      const calls = { ...this.#running?.calls, ...this.#running?.devices.calls, ...this.#own };
      if (!Object.hasOwn(calls, name)) throw new Refused("usage", "the profile is not open");
      const call = calls[name as keyof typeof calls] as (given: unknown) => Promise<unknown>;
      return await call(given);
    } catch (error) {
      throw faultOf(error);
    }
  }

  /** The network has come or gone: see at once whether the connection still lives. */
  suspect(): void {
    this.#running?.loop.suspect();
  }

  // --- beginning ----------------------------------------------------------------

  async #begin(given: Parameters<Api["begin"]>[0]): Promise<Stage> {
    if (this.#running !== null) {
      return this.#stage; // the page was loaded anew, and the worker was not
    }
    this.#relay = given.relay;
    this.#page = given.page;
    const first = await firstStage(given);
    if (first?.at === "insecure" || first?.at === "newer-profile") {
      return this.#become(first);
    }
    this.#storage = await openStorage();
    if (first !== null) {
      return this.#become(first);
    }
    const stay = await this.#storage.stayKey();
    const key = stay === null ? null : await openStay(stay);
    if (key === null) {
      throw new Refused("usage", "this profile was locked in another tab; reload this page");
    }
    this.#stays = true;
    await this.#open(key, { steal: false });
    return this.#stage;
  }

  async #create({ name, passphrase, stay }: Parameters<Api["create"]>[0]): Promise<void> {
    if (this.#stage.at !== "first-run") {
      throw new Refused("usage", "there is or was a profile in this browser; restore a backup, or start over");
    }
    const storage = this.#openStorage();
    const checked = checkedName(name);
    checkNewPassphrase(passphrase);
    await this.#working("creating", async (progress) => {
      const { random, cost } = this.#platform;
      const key = newKey(random);
      const lock = makeLock(key, passphrase, random, { progress, cost });
      const vault = newVault(key, random);
      const { userId } = this.#messengerOn(vault);
      putName(vault, checked, this.#platform.wall());
      await storage.create({ userId, name: checked, lock }, vault.takeBatch(), this.#lost);
      await this.#keepStay(key, stay);
      await this.#open(key, { steal: false });
    });
  }

  async #unlock({ passphrase, stay }: Parameters<Api["unlock"]>[0]): Promise<void> {
    const storage = this.#openStorage();
    const profile = await storage.profile();
    if (profile === null || this.#stage.at !== "locked") {
      throw new Refused("usage", "there is nothing to unlock");
    }
    await this.#working("opening", async (progress) => {
      let key: Uint8Array;
      try {
        key = openLock(profile.lock, passphrase, progress);
      } catch (error) {
        this.#missKeys(error, profile.userId);
        return;
      }
      await this.#keepStay(key, stay);
      await this.#open(key, { steal: false });
    });
  }

  async #restore(given: Parameters<Api["restore"]>[0]): Promise<void> {
    const storage = this.#unusedStorage();
    const { stay } = given;
    const { profileOf } = await this.#platform.later();
    await this.#working("restoring", async (progress) => {
      const { key, lock, vault, name } = profileOf(given, this.#platform, within(progress, 0, 0.6));
      const { userId } = this.#messengerOn(vault);
      await storage.create({ userId, name, lock }, vault.takeBatch(within(progress, 0.6, 1)), this.#lost);
      await this.#keepStay(key, stay);
      await this.#open(key, { steal: false });
    });
  }

  async #takeOver(): Promise<void> {
    const key = this.#key;
    if (this.#stage.at !== "elsewhere" || key === null) {
      throw new Refused("usage", "there is nothing to take over");
    }
    const profile = await this.#openStorage().profile();
    if (profile !== null && (profile.locks ?? 0) !== this.#locks) {
      this.#key = null; // whoever has locked it there means it here, too
      this.#become({ at: "locked", name: profile.name, userId: profile.userId });
      return;
    }
    await this.#open(key, { steal: true });
  }

  async #forget(): Promise<void> {
    if (this.#stage.at !== "evicted") {
      throw new Refused("usage", "there is nothing to forget");
    }
    await setMarker(null);
    this.#become({ at: "first-run" });
  }

  // --- a profile that is open ---------------------------------------------------

  async #open(key: Uint8Array, { steal }: { readonly steal: boolean }): Promise<void> {
    const storage = this.#openStorage();
    const profile = await storage.profile();
    if (profile === null) {
      throw new Refused("damaged", "this browser has deleted its data; reload this page");
    }
    this.#key = key;
    this.#locks = profile.locks ?? 0;
    const held = await hold(this.#platform.locks, profile.userId, { steal });
    if (held === null) {
      this.#become({ at: "elsewhere" });
      return;
    }
    this.#isLost = false;
    try {
      const loaded = await this.#platform.later();
      this.#run(held, await this.#openCore(), loaded);
    } catch (error) {
      held.release();
      this.#missKeys(error, profile.userId);
      return;
    }
    void held.lost.then(() => this.#lose());
    this.#lost = null;
    this.#become({ at: "open" });
  }

  /** Keys that cannot be read are as good as deleted. Any other error is thrown again. */
  #missKeys(error: unknown, userId: string): void {
    if (!(error instanceof VaultDamaged)) {
      throw error;
    }
    this.#key = null;
    this.#lost = userId;
    this.#become({ at: "evicted", userId });
  }

  #run(held: Held, core: Core, loaded: typeof later): void {
    const { dial, monotonic, wall, chance, isOnline, isKept } = this.#platform;
    const loop = new Loop({
      open: () => this.#reopenCore(core.messenger.userId),
      commit: (batch) => this.#commit(batch),
      told: (step) => this.#told(step),
      troubled: (error) => this.#troubled(error),
      dial,
      monotonic,
      wall,
      chance,
      isOnline,
    });
    const ports: CallPorts = {
      loop,
      passing: this.#passing,
      page: this.#page,
      changesOf: () => this.#changesNow(),
      isKept,
      staysSignedIn: () => this.#stays,
      renamed: async (name) => {
        await this.#openStorage().changeProfile({ name });
        await this.#tellMe();
      },
      monotonic,
    };
    const devices = new loaded.DeviceFront({
      loop,
      wall,
      checkPassphrase: (passphrase) => checkPassphrase(this.#openStorage(), passphrase),
      tell: (state) => this.#post({ kind: "devices", state }),
    });
    devices.watch(core);
    const calls = loaded.callsWithGroups(ports, loaded.callsOn(ports));
    this.#running = { loop, held, ports, calls, devices, loaded };
    loop.start(core);
  }

  /** A core in the place of one that has failed. If what is stored cannot be read any more, a backup is asked for. */
  async #reopenCore(userId: string): Promise<Core> {
    try {
      return await this.#openCore();
    } catch (error) {
      if (error instanceof VaultDamaged && this.#running !== null) {
        void this.#stop();
        this.#missKeys(error, userId);
      }
      throw error;
    }
  }

  /** A core made of what is stored. */
  async #openCore(): Promise<Core> {
    const key = this.#key;
    if (this.#isLost || key === null) {
      throw new TakenOver("this profile was opened elsewhere");
    }
    const loaded = await this.#platform.later();
    const vault = openVault(key, this.#platform.random, await this.#openStorage().open());
    const groups = new loaded.GroupsOfCore();
    const messenger = this.#messengerOn(vault, loaded, groups.extend);
    groups.watch(vault, messenger);
    this.#groups = groups;
    this.#changes = new loaded.Changes(vault, messenger, this.#passing, (update) => this.#post(update));
    this.#changes.changedAll();
    this.#hadNobody = messenger.stores.book.size === 0;
    if (vault.unreadable > 0) {
      const text = "Part of what this browser stored is damaged and was left out. You may find it in a backup.";
      this.#post({ kind: "warning", peer: null, notice: { code: "damaged", text } });
    }
    const core = { vault, messenger, groups };
    this.#running?.devices.watch(core);
    return core;
  }

  #messengerOn(vault: Vault, loaded: typeof later | null = null, extend?: Extend): Messenger {
    const { wall, monotonic, random, sinceStart } = this.#platform;
    const messenger = new Messenger(vault, { wall, monotonic, random, sinceBoot: sinceStart, later: loaded }, extend);
    if (messenger.server !== this.#relay) {
      messenger.setServer(this.#relay);
    }
    return messenger;
  }

  async #commit(batch: Batch): Promise<void> {
    this.#isCommitting = true;
    try {
      await this.#openStorage().commit(batch);
    } catch (error) {
      if (error instanceof TakenOver) {
        void this.#lose();
      }
      throw error;
    } finally {
      this.#isCommitting = false;
    }
    if (this.#isFull) {
      this.#isFull = false;
      this.#post({ kind: "storage", isFull: false });
    }
    // Behind what the loop tells of this step; if the next one is under way by then, it will do it.
    setTimeout(() => this.#flush(), 0);
  }

  #told({ events, connection }: Step): void {
    if (connection !== null) {
      this.#post({ kind: "connection", connection });
    }
    this.#changes?.happened(events);
    this.#running?.devices.happened(events);
    this.#groups?.happened(events);
    for (const event of events) {
      if (event.kind === "presence" && event.status === "typing") {
        this.#endTyping(event.peer.userId, event.lastSeen);
      } else if (event.kind === "linking" && event.step === "linked") {
        void this.#tellMe().catch(() => undefined); // one is somebody else now
      } else if (event.kind === "warning" && event.code === NOT_DELETED) {
        this.#endDeleting(new Refused("offline", event.message));
      }
    }
    this.#flush();
  }

  #flush(): void {
    if (this.#isCommitting || this.#running === null || this.#changes === null) {
      return;
    }
    this.#changes.flush();
    this.#running.devices.flush();
    this.#groups?.flush((update) => this.#post(update));
    const { messenger } = this.#changes;
    const isRemoved = messenger.stores.devices?.isRemoved === true;
    if (messenger.isDeleted || isRemoved) {
      void this.#deleted(isRemoved);
    }
    if (this.#hadNobody && messenger.stores.book.size > 0) {
      this.#hadNobody = false;
      void this.#tellMe().catch(() => undefined);
    }
  }

  /** Who was typing is only online after a while. */
  #endTyping(peer: string, lastSeen: number | null): void {
    const { presence } = this.#passing;
    const typing = presence.get(peer);
    clearTimeout(this.#typing.get(peer)); // one clock a contact, however often it is said
    const clock = setTimeout(() => {
      this.#typing.delete(peer);
      if (typing !== undefined && presence.get(peer) === typing) {
        presence.set(peer, { status: "online", lastSeen });
        this.#changes?.changed(peer);
        this.#flush();
      }
    }, TYPING_MS);
    this.#typing.set(peer, clock);
  }

  #troubled(error: unknown): void {
    this.#changes = this.#groups = null; // of a core that is thrown away
    if (this.#running === null) {
      return; // the stage says it
    }
    if (error instanceof VaultFull && !this.#isFull) {
      this.#isFull = true;
      this.#post({ kind: "storage", isFull: true });
    } else if (!(error instanceof TakenOver)) {
      const { code, text } = faultOf(error);
      this.#post({ kind: "warning", peer: null, notice: { code, text } });
    }
  }

  async #tellMe(): Promise<void> {
    const running = this.#running;
    if (running !== null) {
      this.#post({ kind: "me", me: await running.loaded.meOf(running.ports) });
    }
  }

  // --- ending -------------------------------------------------------------------

  /** Another tab has taken the profile over. */
  async #lose(): Promise<void> {
    if (!this.#isLost && this.#running !== null) {
      this.#isLost = true;
      this.#become({ at: "elsewhere" });
      await this.#stop();
    }
  }

  async #stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    this.#changes = null;
    this.#passing = new PassingState();
    await running?.loop.stop();
    running?.held.release();
  }

  async #lock(): Promise<void> {
    // First what must not fail: whoever locks is safe even if the disk has failed.
    await this.#stop();
    this.#key = null;
    const storage = this.#openStorage();
    await storage.lock();
    this.#stays = false;
    const profile = await storage.profile();
    if (profile !== null) {
      this.#become({ at: "locked", name: profile.name, userId: profile.userId });
    }
  }

  async #backup({ passphrase }: Parameters<Api["backup"]>[0]): Promise<Uint8Array> {
    checkNewPassphrase(passphrase);
    const { loop } = this.#isRunning();
    const { random, wall, cost } = this.#platform;
    const { contentOf, exportContent } = await this.#platform.later();
    return this.#working("saving", async (progress) => {
      const content = await loop.call(({ vault }) => contentOf(vault));
      const file = exportContent(content, passphrase, random, { progress, cost });
      await loop.call(({ vault }) => {
        const me = vault.get(records.ME, "") ?? MeRecord.make({ name: "" });
        vault.transaction((tx) => tx.put(records.ME, "", { ...me, backupAt: wall() }));
      });
      if (this.#stage.at === "working") {
        this.#become({ at: "open" });
      }
      await this.#tellMe();
      return file;
    });
  }

  async #changePassphrase(given: Parameters<Api["changePassphrase"]>[0]): Promise<void> {
    this.#isRunning();
    await changePassphrase(this.#openStorage(), given, this.#platform);
  }

  async #staySignedIn({ stay }: Parameters<Api["staySignedIn"]>[0]): Promise<Me> {
    const { loaded, ports } = this.#isRunning();
    await this.#keepStay(this.#key, stay);
    return loaded.meOf(ports);
  }

  async #deleteAccount(): Promise<void> {
    const { loop } = this.#isRunning();
    const unsure =
      "the relay has not confirmed yet that it deleted your account; once it does, everything is deleted here, too";
    this.#endDeleting(new Refused("offline", unsure)); // of an earlier call
    const ended = new Promise<unknown>((resolve) => (this.#endDeleting = resolve));
    if (!(await loop.call(({ messenger }) => messenger.deleteAccount()))) {
      throw new Refused("offline", "the relay cannot be reached right now, so nothing was deleted; try again later");
    }
    const tooLate = (): void => this.#endDeleting(new Refused("offline", unsure));
    const late = setTimeout(tooLate, this.#platform.deleteMs ?? DELETE_MS);
    const error = await ended;
    clearTimeout(late);
    if (error !== null) {
      throw error;
    }
  }

  /**
   * The relay has confirmed that the account is deleted, whoever still waits for it, or the user's first device has
   * removed this one: nothing stays here.
   */
  async #deleted(isRemoved: boolean): Promise<void> {
    try {
      await this.#stop();
      await this.#openStorage().destroy();
      this.#storage = null;
      this.#key = null;
      this.#become(isRemoved ? { at: "deleted", isRemoved } : { at: "deleted" });
      this.#endDeleting(null);
    } catch (error) {
      this.#endDeleting(error);
      const { code, text } = faultOf(error);
      this.#post({ kind: "warning", peer: null, notice: { code, text } });
    }
  }

  // --- parts --------------------------------------------------------------------

  /** Do something slow, and come back to the stage before if it fails. */
  async #working<T>(what: Working, action: (progress: Progress) => Promise<T>): Promise<T> {
    const before = this.#stage;
    let shown = 0;
    this.#become({ at: "working", what, progress: null });
    try {
      return await action((share) => {
        const progress = Math.floor(share * 20) / 20;
        if (progress > shown) {
          shown = progress;
          this.#become({ at: "working", what, progress });
        }
      });
    } catch (error) {
      // Not if it was taken over or locked meanwhile.
      if (this.#stage.at === "working") {
        this.#become(before);
      }
      throw error;
    }
  }

  async #keepStay(key: Uint8Array | null, stay: boolean): Promise<void> {
    const nonce = this.#platform.random(12);
    await this.#openStorage().keepStayKey(stay && key !== null ? await wrapForStay(key, nonce) : null);
    this.#stays = stay;
  }

  #become(stage: Stage): Stage {
    this.#stage = stage;
    this.#post({ kind: "stage", stage });
    return stage;
  }

  #post(update: Update): void {
    this.#platform.post(update);
  }

  #openStorage(): Storage {
    if (this.#storage === null) {
      throw new Refused("usage", "this page is not ready yet; reload it");
    }
    return this.#storage;
  }

  /** To restore a profile into, where there is none. */
  #unusedStorage(): Storage {
    if (this.#stage.at !== "first-run" && this.#stage.at !== "evicted") {
      throw new Refused("usage", "there is a profile in this browser already");
    }
    return this.#openStorage();
  }

  #isRunning(): Running {
    if (this.#running === null) {
      throw new Refused("usage", "the profile is not open");
    }
    return this.#running;
  }

  #changesNow(): Changes {
    if (this.#changes === null) {
      throw new Refused("usage", "the profile is not open");
    }
    return this.#changes;
  }
}
