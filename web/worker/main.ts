// The worker is still to come; the page is built without it.
export {};
