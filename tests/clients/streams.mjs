// What arrives on a subscription, kept in order; waiting is always for a predicate, with a bound.
import { within } from "./server.mjs";

const BOUND_MS = 60_000;

/** The items of one subscription, and how it ended. */
export class Stream {
  items = [];
  #end = null;
  #watchers = new Set();

  push(item) {
    this.items.push(item);
    this.#look();
  }

  /** Ends the stream: completed without an error, failed with one. */
  end(error) {
    this.#end ??= { error };
    this.#look();
  }

  #look() {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #watch(what, holds) {
    let watcher;
    const settled = new Promise((done, failed) => {
      watcher = () => {
        if (holds()) done();
        else if (this.#end) failed(new Error(`${what}: the stream ended first`, { cause: this.#end.error }));
      };
      this.#watchers.add(watcher);
      watcher();
    });
    const state = () => `${what}; so far: ${JSON.stringify(this.items)}`;
    return within(BOUND_MS, state, settled).finally(() => this.#watchers.delete(watcher));
  }

  /** Waits until `holds(items)`; fails when the stream ends before, or after a minute. */
  until(what, holds) {
    return this.#watch(what, () => holds(this.items));
  }

  /** Waits until the stream is over; answers the error it failed with, or undefined. */
  async over(what) {
    await this.#watch(what, () => this.#end !== null);
    return this.#end.error;
  }

  /** Waits until the stream has completed; failing is an error. */
  async completed(what) {
    const error = await this.over(what);
    if (error) throw new Error(`${what}: the stream failed instead of completing`, { cause: error });
  }
}

/** Reads again until `holds(answer)`, for at most a minute; answers what held. */
export async function eventually(what, read, holds) {
  let last;
  let giveUp = false;
  const polling = (async () => {
    while (!giveUp) {
      last = await read();
      if (holds(last)) return last;
      await new Promise((again) => setTimeout(again, 50));
    }
  })();
  return within(BOUND_MS, () => `${what}; last answer: ${JSON.stringify(last)}`, polling).finally(() => (giveUp = true));
}
