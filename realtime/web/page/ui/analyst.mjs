/** The worker, as an object with methods. */

/** @typedef {import('../core/area.mjs').Image} Image */
/** @typedef {import('../core/card.mjs').Card} Card */
/** @typedef {import('../core/download.mjs').OnProgress} OnProgress */
/** @typedef {import('../core/pipeline.mjs').Face} Face */
/** @typedef {import('../core/answers.mjs').Settings} Settings */

export class Analyst {
  #worker = new Worker(new URL('../worker.mjs', import.meta.url), { type: 'module' });
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  #lastId = 0;
  #onSoonFree = () => {};
  /**
   * Settles when the worker is about to need another frame.
   *
   * @type {Promise<void>}
   */
  soonFree = Promise.resolve();

  /** @param {OnProgress} onProgress */
  constructor(onProgress) {
    this.#worker.addEventListener('message', ({ data: { progress, isSoonFree, id, value, error } }) => {
      if (progress) return onProgress(progress.name, progress.loaded, progress.total);
      if (isSoonFree) return this.#onSoonFree();
      const asked = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) asked?.resolve(value);
      else asked?.reject(new Error(error));
    });
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      const error = new Error(`The worker failed (${event.message ?? 'it could not be loaded'}). Load the page again.`);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  /**
   * @param {{ threads: number, settings: Settings }} argument
   * @returns {Promise<Card>} Of the model.
   */
  load(argument) {
    return this.#call('load', argument);
  }

  /**
   * Uses another model file.
   *
   * @param {Uint8Array} file
   * @returns {Promise<Card>}
   */
  useModel(file) {
    return this.#call('useModel', file, [file.buffer]);
  }

  /**
   * @param {Partial<Settings>} settings
   * @returns {Promise<void>}
   */
  configure(settings) {
    return this.#call('configure', settings);
  }

  /**
   * Forgets all faces, for another stream.
   *
   * @returns {Promise<void>}
   */
  reset() {
    return this.#call('reset');
  }

  /**
   * Takes the next second of each visible face as its resting face.
   *
   * @returns {Promise<void>}
   */
  takeRest() {
    return this.#call('takeRest');
  }

  /**
   * Takes pictures of one person at rest, and corrects the answers about all faces for it.
   *
   * @param {Image[]} images They are handed over; none ends it.
   * @returns {Promise<void>}
   */
  rest(images) {
    return this.#call('rest', images, images.map(({ data }) => data.buffer));
  }

  /**
   * Finds the faces of a frame.
   *
   * @param {import('../worker.mjs').Request} request Its pixels are handed over, and come back.
   * @returns {Promise<{ image: Image, faces: Face[], milliseconds: number }>}
   */
  look(request) {
    this.soonFree = new Promise((resolve) => (this.#onSoonFree = resolve));
    return this.#call('look', request, [request.image.data.buffer]).finally(this.#onSoonFree);
  }

  /**
   * Finds the faces of frames. Each is sent before the answer about the one before is there, so the worker need not wait.
   *
   * @template {{ image: Image, time: number }} Frame
   * @param {AsyncGenerator<Frame>} frames
   * @param {boolean} still
   * @returns {AsyncGenerator<Frame & { faces: Face[], milliseconds: number }>} The frames, in order.
   */
  async *follow(frames, still) {
    const send = async () => {
      const { value, done } = await frames.next();
      if (done) return null;
      const answer = this.look({ image: value.image, time: value.time, still });
      answer.catch(() => {}); // it is thrown below, but perhaps later
      return { value, answer };
    };
    let next = send();
    try {
      for (let sent = await next; sent; sent = await next) {
        next = send();
        next.catch(() => {});
        yield { ...sent.value, ...(await sent.answer) };
      }
    } finally {
      await frames.return(undefined);
    }
  }

  /**
   * @param {string} method
   * @param {unknown} [argument]
   * @param {Transferable[]} [transfer]
   */
  #call(method, argument, transfer = []) {
    const id = ++this.#lastId;
    return /** @type {Promise<any>} */ (
      new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#worker.postMessage({ id, method, argument }, transfer);
      })
    );
  }
}
