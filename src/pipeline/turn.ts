/** Lets others have the event loop before it goes on. */
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
