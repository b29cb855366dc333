/** Records that are arrays, as some are stored and exported. */
import { recordType } from "../record_types.ts";
import type { Field, Fields, GivenOf, RecordType, ValueOf } from "../record_types.ts";

/** Records that are stored as an array of their members, in this order; those at the end may be missing. */
export function rowType<F extends Fields>(fields: F): RecordType<ValueOf<F>, GivenOf<F>> & Field<ValueOf<F>> {
  const named = recordType(fields);
  const members = Object.entries(fields).map(([name, field]) => ({
    name,
    stored: name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    field,
  }));
  return {
    make: (given) => named.make(given),
    write: (value) => members.map(({ name, field }) => field.write(value[name])) as never,
    read(raw) {
      if (!Array.isArray(raw)) {
        throw new TypeError("it is no array");
      }
      const found: readonly unknown[] = raw;
      return named.read(Object.fromEntries(members.map(({ stored }, place) => [stored, found[place]])));
    },
  };
}
