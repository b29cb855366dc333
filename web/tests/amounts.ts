/** How much a test of a promise does: a short form in `make test`, all of it in `make test-long`. */

/** Whether this is `make test-long`. */
export const IS_LONG = Number(process.env["PHANTOM_TEST_LONG"] ?? 0) > 0;

/** How many of something to do. */
export const amount = (short: number, full: number): number => (IS_LONG ? full : short);
