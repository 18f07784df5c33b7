/**
 * Runs detector and model off the page's thread.
 *
 * It takes messages `{ id, method, argument }` and answers each, in order, with `{ id, value }` or `{ id, error }`.
 * While it loads, it sends `{ progress: { name, loaded, total } }`. When the faces of a frame are found, and only their
 * expressions are missing, it sends `{ isSoonFree: true }`.
 */
import * as ort from './vendor/ort.wasm.min.mjs';
import { readCard } from './core/card.mjs';
import { CLASSES } from './core/classes.mjs';
import { IMAGE_SIZE } from './core/crop.mjs';
import { SEARCH_SIZE } from './core/detect.mjs';
import { download } from './core/download.mjs';
import { Pipeline } from './core/pipeline.mjs';

/** @typedef {import('./core/area.mjs').Image} Image */
/** @typedef {import('./core/card.mjs').Card} Card */
/** @typedef {import('./core/answers.mjs').Settings} Settings */

/**
 * @typedef {object} Request A frame to look at.
 * @property {Image} image
 * @property {number} time In seconds.
 * @property {boolean} still Whether it is a picture that stands alone.
 */

const RUNTIME = new URL('./vendor/', import.meta.url);

/** @type {Pipeline} */
let pipeline;
/** Frees the memory of the model in use. */
let release = async () => {};

const methods = {
  /**
   * Fetches and starts everything.
   *
   * @param {{ threads: number, settings: Settings }} argument
   * @returns {Promise<Card>}
   */
  async load({ threads, settings }) {
    /** @type {import('./core/download.mjs').OnProgress} */
    const onProgress = (name, loaded, total) => postMessage({ progress: { name, loaded, total } });
    const [binary, detector, model] = await Promise.all(
      ['./vendor/ort-wasm-simd-threaded.wasm.gz', './detector.onnx', './model.onnx'].map((name) =>
        download(new URL(name, import.meta.url), onProgress),
      ),
    );
    ort.env.logLevel = 'error';
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = RUNTIME.href;
    ort.env.wasm.wasmBinary = binary.buffer;
    const { card, recognizer, session } = await openModel(model);
    release = () => session.release();
    pipeline = new Pipeline(await openDetector(detector), recognizer, card.training_shares, settings);
    return card;
  },

  /**
   * Uses another model file.
   *
   * @param {Uint8Array} file
   */
  async useModel(file) {
    const { card, recognizer, session } = await openModel(file);
    pipeline.useModel(recognizer, card.training_shares);
    await release();
    release = () => session.release();
    return card;
  },

  /** @param {Partial<Settings>} settings */
  async configure(settings) {
    pipeline.configure(settings);
  },

  async reset() {
    pipeline.reset();
  },

  /** Takes the next second of each visible face as its resting face. */
  async takeRest() {
    pipeline.takeRest();
  },

  /**
   * Takes pictures of one person at rest.
   *
   * @param {Image[]} images None ends it.
   */
  async rest(images) {
    await pipeline.rest(images);
  },

  /**
   * Finds the faces of a frame. Its pixels go back with them.
   *
   * @param {Request} request
   */
  async look({ image, time, still }) {
    const started = performance.now();
    const faces = await (still ? pipeline.still(image) : pipeline.next(image, time));
    return { image, faces, milliseconds: performance.now() - started };
  },
};

/**
 * @param {Uint8Array} file
 * @returns {Promise<import('./core/detect.mjs').RunDetector>}
 */
async function openDetector(file) {
  const session = await ort.InferenceSession.create(file);
  /** @type {import('./core/detect.mjs').RunDetector} */
  const run = async (bgr, width, height) => {
    const found = await session.run({ image: new ort.Tensor('uint8', bgr, [height, width, 3]) });
    return {
      boxes: /** @type {Float32Array} */ (found.boxes.data),
      scores: /** @type {Float32Array} */ (found.scores.data),
      landmarks: /** @type {Float32Array} */ (found.landmarks.data),
    };
  };
  const [width, height] = [SEARCH_SIZE, (SEARCH_SIZE * 3) / 4];
  await run(new Uint8Array(width * height * 3), width, height); // the first run of a size is slow
  return async (...image) => {
    const found = await run(...image);
    postMessage({ isSoonFree: true });
    return found;
  };
}

/** @param {Uint8Array} file */
async function openModel(file) {
  const card = readCard(file);
  const session = await ort.InferenceSession.create(file).catch((/** @type {unknown} */ error) => {
    throw new Error(`The model cannot be run (${firstLine(error)}).`);
  });
  /** @type {import('./core/pipeline.mjs').RunRecognizer} */
  const recognizer = async (crops, count) => {
    const faces = new ort.Tensor('uint8', crops, [count, IMAGE_SIZE, IMAGE_SIZE]);
    const { probabilities } = await session.run({ faces });
    return /** @type {Float32Array} */ (probabilities.data);
  };
  for (const count of [1, 2]) {
    const row = await recognizer(new Uint8Array(count * IMAGE_SIZE ** 2), count).catch((/** @type {unknown} */ error) => {
      throw new Error(`The model fails when it runs (${firstLine(error)}).`);
    });
    const sum = row.reduce((one, other) => one + other, 0);
    if (row.length !== count * CLASSES.length || !(Math.abs(sum - count) < 1e-2)) {
      throw new Error('The model answers with no probabilities. Export it again.');
    }
  }
  return { card, recognizer, session };
}

/** @param {unknown} error */
function firstLine(error) {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0].slice(0, 200);
}

let last = Promise.resolve();

addEventListener('message', ({ data: { id, method, argument } }) => {
  last = last.then(async () => {
    try {
      const value = await methods[/** @type {keyof typeof methods} */ (method)](argument);
      postMessage({ id, value }, { transfer: value && 'image' in value ? [value.image.data.buffer] : [] });
    } catch (error) {
      postMessage({ id, error: firstLine(error) });
    }
  });
});
