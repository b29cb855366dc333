/** A store of records in one file, for processes that die: each batch is a line, so that all of it is there or nothing. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import type { Batch, StoredRecord } from "../../core/client/vault.ts";

interface Line {
  readonly puts: readonly (Omit<StoredRecord, "value"> & { readonly value: string })[];
  readonly deletes: Batch["deletes"];
}

function placeOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind} ${name}`;
}

/** All records, as they were stored. */
export function storedIn(path: string): StoredRecord[] {
  const found = new Map<string, StoredRecord>();
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  for (const line of lines) {
    const { deletes, puts } = JSON.parse(line) as Line;
    for (const one of puts) {
      found.set(placeOf(one), { ...one, value: new Uint8Array(Buffer.from(one.value, "base64")) });
    }
    for (const one of deletes) {
      found.delete(placeOf(one));
    }
  }
  return [...found.values()];
}

/** Store a batch. */
export function store(path: string, { deletes, puts }: Batch): void {
  const line: Line = {
    puts: puts.map((one) => ({ ...one, value: Buffer.from(one.value).toString("base64") })),
    deletes,
  };
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}
